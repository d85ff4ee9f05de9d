//! Real servers in a namespace, and what they counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::net::Namespace;
use crate::support::{comes_true, wait_for};

/// A server's process and its folder; both go with it.
pub struct Server {
    child: Child,
    folder: PathBuf,
}

impl Server {
    pub fn start(mut command: Command, folder: PathBuf, ready: impl Fn() -> bool) -> Self {
        command.current_dir(&folder).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut server = Self { child, folder };
        let is_ready = comes_true(|| {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            ready()
        });
        assert!(is_ready, "{command:?} is not ready");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A folder of a test's own.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tcpkit-{name}-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// redis-server on every address of a namespace, asked over a Unix socket that no capture sees.
pub struct Redis {
    _server: Server,
    socket: PathBuf,
}

pub const REDIS: u16 = 6379;

impl Redis {
    pub fn start(namespace: &Namespace) -> Self {
        let folder = scratch("redis");
        let socket = folder.join("socket");
        let mut command = namespace.command("redis-server");
        command.args([
            "--bind",
            "*",
            "-::*",
            "--protected-mode",
            "no",
            "--save",
            "",
        ]);
        command.args([
            "--enable-debug-command",
            "yes",
            "--slowlog-log-slower-than",
            "1000",
        ]);
        command.arg("--unixsocket").arg(&socket);
        let ready = || ask(&socket, &["PING"]).trim() == "PONG";
        let server = Server::start(command, folder, ready);
        Self {
            _server: server,
            socket,
        }
    }

    pub fn ask(&self, words: &[&str]) -> String {
        ask(&self.socket, words)
    }

    pub fn forget(&self) {
        assert_eq!(self.ask(&["CONFIG", "RESETSTAT"]).trim(), "OK");
    }

    /// Waits until clients that have ended are gone for the server too: then no frame of theirs is still to come.
    pub fn wait_for_quiet(&self) {
        wait_for("clients stay", || {
            // It is asked by one.
            let told = self.ask(&["INFO", "clients"]);
            told.contains("connected_clients:1\r")
        });
    }

    /// Calls by command since [`Redis::forget`].
    pub fn calls(&self, command: &str) -> u64 {
        let info = self.ask(&["INFO", "commandstats"]);
        let prefix = format!("cmdstat_{}:calls=", command.to_lowercase());
        let line = info.lines().find_map(|line| line.strip_prefix(&prefix));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    }
}

fn ask(socket: &Path, words: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    let output = command.arg("-s").arg(socket).args(words).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub const MEMCACHED: u16 = 11211;

/// memcached, for values of a megabyte and over UDP too.
pub fn memcached(namespace: &Namespace) -> Server {
    let mut command = namespace.command("memcached");
    command.args([
        "-u",
        "root",
        "-I",
        "8m",
        "-m",
        "256",
        "-U",
        "11211",
        "-l",
        "0.0.0.0,::",
    ]);
    Server::start(command, scratch("memcached"), || {
        accepts(namespace, MEMCACHED)
    })
}

pub const HTTP: u16 = 80;

/// nginx with files of several sizes, named after them; and its log.
pub fn nginx(namespace: &Namespace, sizes: &[usize]) -> (Server, PathBuf) {
    let folder = scratch("nginx");
    let log = folder.join("access.log");
    for size in sizes {
        std::fs::write(folder.join(size.to_string()), vec![b'x'; *size]).unwrap();
    }
    let root = folder.display();
    let config = format!(
        "daemon off; master_process off; user root; pid {root}/pid; error_log {root}/error.log;\n\
         events {{}}\n\
         http {{ access_log {root}/access.log; keepalive_requests 1000000; sendfile on;\n\
         server {{ listen 80; listen [::]:80; listen unix:{root}/ask; root {root}; }} }}\n"
    );
    std::fs::write(folder.join("nginx.conf"), config).unwrap();
    let mut command = namespace.command("nginx");
    command.arg("-c").arg(folder.join("nginx.conf"));
    command.arg("-e").arg(folder.join("error.log"));
    let server = Server::start(command, folder, || accepts(namespace, HTTP));
    (server, log)
}

pub const DNS: u16 = 53;

/// dnsmasq, which knows every name below `example.test`; and its log.
pub fn dnsmasq(namespace: &Namespace) -> (Server, PathBuf) {
    let folder = scratch("dnsmasq");
    let log = folder.join("log");
    let mut command = namespace.command("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
    ]);
    command.args([
        "--user=root",
        "--pid-file=",
        "--log-queries",
        "--cache-size=0",
    ]);
    command.args([
        "--address=/example.test/192.0.2.7",
        "--address=/example.test/2001:db8::7",
    ]);
    command.arg(format!("--log-facility={}", log.display()));
    let server = Server::start(command, folder, || accepts(namespace, DNS));
    (server, log)
}

/// Files that nginx has sent. It logs them once they are sent, one after the other: what it is asked out of sight, over a Unix
/// socket, it answers after all that was logged before.
pub fn fetched(log: &Path) -> u64 {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(log.with_file_name("ask")).unwrap();
    stream.write_all(b"HEAD / HTTP/1.0\r\n\r\n").unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1."), "{told}");
    logged(log, "GET /")
}

/// Lines of a server's log that hold this.
pub fn logged(log: &Path, what: &str) -> u64 {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter(|line| line.contains(what)).count() as u64
}

/// What memcached's `stats` says, asked out of sight: after the capture.
pub fn memcached_stats(namespace: &Namespace) -> BTreeMap<String, u64> {
    let text = namespace.within(|| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", MEMCACHED)).unwrap();
        stream.write_all(b"stats\r\nquit\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let stats = text.lines().filter_map(|line| {
        let mut words = line.strip_prefix("STAT ")?.split(' ');
        Some((words.next()?.to_owned(), words.next()?.trim().parse().ok()?))
    });
    stats.collect()
}

pub fn accepts(namespace: &Namespace, port: u16) -> bool {
    namespace.within(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
}
