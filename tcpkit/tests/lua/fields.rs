//! Every field of what hooks are given.

use serde_json::Value;

use crate::frames::{Make, pcap};
use crate::support::cases::Case;
use crate::support::tcpkit;
use crate::{Scratch, over, printed, run};

/// Prints all fields of each packet, the payload in hexadecimal, in one line.
const SHOW: &str = r#"
function process(p)
  local keys = {}
  for key in pairs(p) do keys[#keys + 1] = key end
  table.sort(keys)
  local parts = {}
  for i, key in ipairs(keys) do
    local value = p[key]
    if key == "payload" then value = value:gsub(".", function(c) return ("%02x"):format(c:byte()) end) end
    parts[i] = key .. "=" .. type(p[key]):sub(1, 1) .. ":" .. tostring(value)
  end
  print(table.concat(parts, " "))
end
"#;

fn shown(make: &Make, snaplen: usize) -> Vec<String> {
    let frames = [
        make.frame(false, 0x02, b""),
        make.frame(false, 0xd8, b"a\0\r\n\xff"),
        make.frame(true, 0x14, b""),
    ];
    let scratch = Scratch::new("lua");
    let input = scratch.file("input.pcap", pcap(&frames, snaplen));
    let mut args = vec!["-p", "6379", "-m", "raw", "-q"];
    args.extend(make.udp.then_some("-u"));
    let run = run(SHOW, &input, &args);
    assert_eq!(run.stderr, "");
    let lines = run
        .stdout
        .lines()
        .take_while(|line| !line.starts_with("port "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_tcp_packet_over_ipv4() {
    let lines = shown(
        &Make {
            v6: false,
            udp: false,
        },
        1000,
    );
    assert_eq!(
        lines,
        [
            "ack=n:2271560481 dip=s:10.0.200.2 dport=n:6379 flags=n:2 payload=s: request=b:true seq=n:4275878552 sip=s:10.0.200.1 size=n:0 sport=n:40001 tcp_flags=n:2 tv_sec=n:1700000000 tv_usec=n:250001 udp=b:false",
            "ack=n:2271560481 dip=s:10.0.200.2 dport=n:6379 flags=n:24 payload=s:61000d0aff request=b:true seq=n:4275878552 sip=s:10.0.200.1 size=n:5 sport=n:40001 tcp_flags=n:216 tv_sec=n:1700000001 tv_usec=n:250002 udp=b:false",
            "ack=n:2271560481 dip=s:10.0.200.1 dport=n:40001 flags=n:20 payload=s: request=b:false seq=n:4275878552 sip=s:10.0.200.2 size=n:0 sport=n:6379 tcp_flags=n:20 tv_sec=n:1700000002 tv_usec=n:250003 udp=b:false",
        ]
    );
}

#[test]
fn a_tcp_packet_over_ipv6() {
    let lines = shown(
        &Make {
            v6: true,
            udp: false,
        },
        1000,
    );
    assert_eq!(
        lines[1],
        "ack=n:2271560481 dip=s:2001:db8::2 dport=n:6379 flags=n:24 payload=s:61000d0aff request=b:true seq=n:4275878552 sip=s:2001:db8::1 size=n:5 sport=n:40001 tcp_flags=n:216 tv_sec=n:1700000001 tv_usec=n:250002 udp=b:false"
    );
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_udp_packet_has_no_tcp_fields() {
    let four = shown(
        &Make {
            v6: false,
            udp: true,
        },
        1000,
    );
    assert_eq!(
        four[1],
        "dip=s:10.0.200.2 dport=n:6379 payload=s:61000d0aff request=b:true sip=s:10.0.200.1 size=n:5 sport=n:40001 tv_sec=n:1700000001 tv_usec=n:250002 udp=b:true"
    );
    let six = shown(
        &Make {
            v6: true,
            udp: true,
        },
        1000,
    );
    assert_eq!(six[1], four[1].replace("10.0.200.", "2001:db8::"));
}

#[test]
fn of_a_cut_packet_the_size_is_the_wires() {
    let lines = shown(
        &Make {
            v6: false,
            udp: false,
        },
        14 + 40 + 2,
    );
    assert!(lines[1].contains("payload=s:6100 "), "{}", lines[1]);
    assert!(lines[1].contains(" size=n:5 "), "{}", lines[1]);
}

#[test]
fn a_packet_that_is_kept_stays_as_it_was() {
    let script = r#"
local kept, seen = {}, {}
local function line(p) return table.concat({ p.tv_sec, p.tv_usec, p.sip, p.sport, p.dip, p.dport, p.seq,
  p.ack, p.flags, p.tcp_flags, tostring(p.request), p.payload, p.size, tostring(p.udp) }, "|") end
function process(p) kept[#kept + 1], seen[#seen + 1] = p, line(p) end
function on_exit()
  collectgarbage()
  local same = 0
  for i, p in ipairs(kept) do if line(p) == seen[i] then same = same + 1 end end
  print(#kept, same)
end
"#;
    let said = printed(script, "redis-benchmark-16");
    let (kept, same) = said.trim().split_once('\t').unwrap();
    assert_eq!(kept, same);
    assert!(
        kept.parse::<u32>().unwrap() > 600,
        "more than one batch: {kept}"
    );
}

/// Payloads that come again are strings that the VM has kept: also then, and where a hook fails amid a batch, each
/// packet has its own.
#[test]
fn payloads_are_the_packets_own_also_where_hooks_fail() {
    let script = r#"
local n = 0
function process(p)
  if p.size == 0 then return end
  print((p.payload:sub(1, 40):gsub("\r", "\\r"):gsub("\n", "\\n")))
  n = n + 1
  if n % 3 == 0 then error("bad luck") end
end
"#;
    for case in ["redis-commands", "redis-split"] {
        let run = over(script, case, &["-p", "6390"]);
        assert!(run.stderr.contains("bad luck"), "{}", run.stderr);
        let case = Case::named(case);
        let mut command = tcpkit();
        command.arg("-r").arg(case.input());
        command.args(["-m", "raw", "-p", "6390"]);
        let raw = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let raw = raw.lines().filter(|line| line.contains("=>"));
        let raw: Vec<&str> = raw
            .map(|line| line.splitn(9, ' ').nth(8).unwrap())
            .collect();
        let own = raw.iter().zip(run.stdout.lines());
        let own = own.filter(|(raw, own)| raw.starts_with(own)).count();
        assert!(own > 100 || case.name != "redis-commands", "{own}");
        assert_eq!([own, own], [raw.len(), run.stdout.lines().count()]);
    }
}

#[test]
fn every_packet_comes_once_and_in_order() {
    let case = Case::named("redis-split");
    let script = "n = 0 function process(p) n = n + 1 end function on_exit() print(n) end";
    let frames = case.report().summary["capture"]["matched"]
        .as_u64()
        .unwrap();
    assert_eq!(printed(script, "redis-split").trim(), frames.to_string());
}

/// Runs `hook` so that it emits what it is given, and compares with the JSON lines of the same run.
fn same_as_json(case: &str, hook: &str, kind: &str) -> usize {
    let script = format!("function {hook}(x) tcpkit.emit(x) end");
    let case = Case::named(case);
    let args = case.args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let emitted = over(&script, &case.name, &args);
    let mut command = tcpkit();
    command.arg("-r").arg(case.input()).args(&args);
    command.args(["--format", "json", "--include-blocking"]);
    let json = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let parse = |text: &str| -> Vec<Value> {
        let all = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let mut of_kind: Vec<Value> = all.filter(|one: &Value| one["type"] == kind).collect();
        of_kind.iter_mut().for_each(rounded);
        of_kind.sort_by_key(|one| (one["frames"]["request_first"].as_u64(), one.to_string()));
        of_kind
    };
    let (ours, theirs) = (parse(&emitted.stdout), parse(&json));
    assert_eq!(ours.len(), theirs.len());
    for (our, their) in ours.iter().zip(&theirs) {
        assert_eq!(our, their, "{}", case.name);
    }
    ours.len()
}

/// Points in time are doubles in Lua, known to 256 ns; what is absent is null here and nil there.
fn rounded(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    fields.retain(|_, value| !value.is_null());
    for (name, value) in fields {
        if name.ends_with("_first_ns") || name.ends_with("_last_ns") {
            *value = (value.as_u64().unwrap() as f64).into();
        }
        rounded(value);
    }
}

#[test]
fn exchanges_have_the_fields_of_the_json_lines() {
    for case in [
        "redis-resp3",
        "http-keepalive",
        "memcached-text",
        "loss-unpipelined",
        "dns-tcp",
    ] {
        if Case::named(case).input().is_file() {
            assert!(same_as_json(case, "on_exchange", "exchange") > 0, "{case}");
        }
    }
}

#[test]
fn requests_without_an_answer_have_the_fields_of_the_json_lines() {
    let cases = Case::all();
    let with_some = cases
        .iter()
        .filter(|case| case.truth()["unanswered"].as_u64().unwrap_or(0) > 0);
    let found: usize = with_some
        .map(|case| same_as_json(&case.name, "on_unanswered", "unanswered"))
        .sum();
    assert!(found > 0);
}

#[test]
fn a_connection_tells_how_it_began_and_ended() {
    let script = "function on_connection(c) tcpkit.emit(c) end";
    let said = printed(script, "redis-split");
    let all: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let states: Vec<&str> = all.iter().map(|c| c["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["opened", "established", "closed"]);
    let mut fields: Vec<&str> = all[1]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "age_ns",
            "client",
            "frame",
            "handshake_ns",
            "server",
            "state",
            "syn_retries",
            "time",
            "time_ns",
            "type",
            "v"
        ]
    );
    assert_eq!(all[1]["frame"], 3);
    assert_eq!(all[1]["handshake_ns"], all[1]["age_ns"]);
    assert!(all[1]["handshake_ns"].as_u64().unwrap() > 0);
    assert_eq!(all[1]["server"]["port"], 6390);
    assert_eq!(all[1]["syn_retries"], 0);
    assert!(all[0].get("handshake_ns").is_none());
}

#[test]
fn ticks_are_seconds_of_capture_time() {
    let frames: Vec<Vec<u8>> = (0..4)
        .map(|_| {
            Make {
                v6: false,
                udp: true,
            }
            .frame(false, 0, b"x")
        })
        .collect();
    let scratch = Scratch::new("lua");
    let input = scratch.file("input.pcap", pcap(&frames, 1000));
    let script =
        "function on_tick(now) print(('%.6f'):format(now)) end function on_exit() print('end') end";
    let run = run(script, &input, &[]);
    assert_eq!(
        run.stdout,
        "1700000001.250002\n1700000002.250003\n1700000003.250004\nend\n"
    );
}
