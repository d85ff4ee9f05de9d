//! Scripts beside a live capture: what they find is what the client did, and none of them can harm the run.
//!
//! One engine will do: scripts are fed behind it.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::clients;
use crate::net::{Pair, SERVER_IF, SERVER_V4, privileged};
use crate::readers::snapshot;
use crate::run::{Ended, Run, assert_exact, requests};
use crate::servers::{REDIS, Redis, scratch};
use crate::support::wait_for;

/// A server, a client, and a script that watches them.
struct Scene {
    pair: Pair,
    redis: Redis,
    folder: PathBuf,
}

impl Scene {
    /// None where live tests are not possible.
    fn new() -> Option<Self> {
        privileged().then(|| {
            let pair = Pair::new(1500);
            let redis = Redis::start(&pair.server);
            redis.forget();
            Self {
                pair,
                redis,
                folder: scratch("script"),
            }
        })
    }

    fn write(&self, script: &str) -> String {
        let file = self.folder.join("script.lua");
        std::fs::write(&file, script).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn capture(&self, script: &str) -> Run {
        let script = self.write(script);
        let args = [
            "--backend",
            "ebpf",
            "-i",
            SERVER_IF,
            "-p",
            "6379",
            "-m",
            "redis",
        ];
        let report = ["-q", "--format", "json", "-S", &script];
        Run::start(&self.pair.server, &[&args[..], &report].concat())
    }

    /// So many SET and as many GET.
    fn traffic(&self, requests: u64) {
        clients::redis(&self.pair.client, SERVER_V4, requests, 1, 10);
    }

    /// That the run has paired whatever the server has answered.
    fn assert_complete(&self, ended: &Ended) {
        let summary = ended.report().summary;
        assert_exact(&summary, &ended.said);
        for command in ["SET", "GET"] {
            let counted = self.redis.calls(command);
            assert!(counted > 0);
            assert_eq!(requests(&summary, REDIS, command), counted, "{command}");
        }
        assert!(summary["ports"][0]["latency_ns"].is_object(), "{summary}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Captures before, while and after a script does its worst. The user is told which script, and what.
fn harmless(script: &str, told: &str) -> Option<Ended> {
    let scene = Scene::new()?;
    let run = scene.capture(script);
    scene.traffic(1000);
    run.wait_until_said(told);
    scene.traffic(1000);
    let ended = run.stop();
    assert!(ended.said.contains("script.lua"), "{}", ended.said);
    scene.assert_complete(&ended);
    Some(ended)
}

#[test]
fn a_loop_that_is_compiled_is_switched_off() {
    harmless(
        "function process() while true do end end",
        "script.lua: a call took longer than it may",
    );
}

#[test]
fn a_long_pattern_match_is_abandoned() {
    harmless(
        "function process() string.rep('a', 30):find(('.-'):rep(12) .. 'b') end",
        "script.lua: the script hangs in a call that cannot be stopped",
    );
}

#[test]
fn memory_is_bounded() {
    harmless(
        "local kept = {} function process() for i = 1, 1e5 do kept[#kept + 1] = { i } end end",
        "script.lua: the script wants more memory than it may have",
    );
}

#[test]
fn errors_are_told_and_not_for_ever() {
    let script = "function process() error('bad luck') end";
    let Some(ended) = harmless(script, "script.lua:1: bad luck") else {
        return;
    };
    assert!(ended.said.contains("errors so far)"), "{}", ended.said);
    assert!(ended.said.contains("errors in all"), "{}", ended.said);
    assert!(ended.said.lines().count() < 60, "{}", ended.said);
}

#[test]
fn os_exit_ends_the_script_alone() {
    harmless(
        "function process() os.exit(3) end",
        "script.lua: the script ended with os.exit",
    );
}

/// As [`Scene::traffic`], and no more at a time than waits for a script that waits for a processor: what does not fit is
/// dropped, and that is not the subject. `before` were told to the script earlier.
fn paced(scene: &Scene, before: u64, requests: u64) {
    const PART: u64 = 250;
    for done in (PART..=requests).step_by(PART as usize) {
        scene.traffic(PART);
        let expected = before + 2 * done;
        wait_for(&format!("the script counts {expected}"), || {
            let told = &snapshot(&scene.pair.server)["scripts"]["counters"][0]["value"];
            told.as_f64() == Some(expected as f64)
        });
    }
}

/// Requests as packets and as exchanges; the client's own, not those that redis-benchmark begins with.
const COUNT: &str = "
local packets, exchanges = 0, 0
function process(p)
  local command = p.request and p.payload:match('^%*%d\\r\\n$3\\r\\n(%u+)\\r\\n')
  if command == 'SET' or command == 'GET' then packets = packets + 1 end
end
function on_exchange(x)
  if x.command == 'SET' or x.command == 'GET' then
    exchanges = exchanges + 1
    tcpkit.counter('exchanges')
  end
end
function on_exit() tcpkit.emit { type = 'counted', by = 'NAME', packets = packets, exchanges = exchanges } end";

/// What scripts have counted: by whom, packets and exchanges.
fn counted(ended: &Ended) -> Vec<(String, u64, u64)> {
    let lines = ended.output.lines().map(serde_json::from_str);
    let values = lines.map(Result::<Value, _>::unwrap);
    let counts = values.filter(|value| value["type"] == "counted");
    let number = |value: &Value| value.as_u64().unwrap();
    counts
        .map(|value| {
            let by = value["by"].as_str().unwrap().to_owned();
            (by, number(&value["packets"]), number(&value["exchanges"]))
        })
        .collect()
}

#[test]
fn hooks_are_told_what_the_client_did() {
    let Some(scene) = Scene::new() else { return };
    let run = scene.capture(COUNT);
    paced(&scene, 0, 2000);
    let ended = run.stop();
    scene.assert_complete(&ended);
    assert_eq!(counted(&ended), [("NAME".to_owned(), 4000, 4000)]);
}

#[test]
fn no_packet_is_lost_while_a_script_is_reloaded() {
    let Some(scene) = Scene::new() else { return };
    let run = scene.capture(&COUNT.replace("NAME", "old"));
    std::thread::scope(|scope| {
        // The old script has to be told something before, and the new one after.
        paced(&scene, 0, 500);
        let client = scope.spawn(|| paced(&scene, 1000, 4000));
        scene.write(&COUNT.replace("NAME", "new"));
        run.signal(Signal::USR2);
        run.wait_until_said("script.lua: reloaded");
        client.join().unwrap();
        paced(&scene, 9000, 500);
    });
    let ended = run.stop();
    scene.assert_complete(&ended);
    assert!(!ended.said.contains("dropped"), "{}", ended.said);
    let counts = counted(&ended);
    let names: Vec<&str> = counts.iter().map(|(by, ..)| by.as_str()).collect();
    assert_eq!(names, ["old", "new"]);
    assert!(counts.iter().all(|(_, packets, _)| *packets > 0));
    let all = |part: fn(&(String, u64, u64)) -> u64| counts.iter().map(part).sum::<u64>();
    assert_eq!(all(|count| count.1), 10_000, "{counts:?}");
    assert_eq!(all(|count| count.2), 10_000, "{counts:?}");
}
