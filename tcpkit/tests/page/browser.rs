//! A headless Chromium, told what to do by the DevTools protocol over a pair of pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// A browser that does not answer for so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub struct Browser {
    child: Child,
    orders: ChildStdin,
    told: Receiver<Value>,
    session: Value,
    number: u64,
    /// What happened while answers were waited for.
    events: Vec<Value>,
    folder: PathBuf,
}

impl Browser {
    /// Starts it with an empty page.
    pub fn start() -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("tcpkit-browser-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // The browser speaks at files 3 and 4. Root has no sandbox, and a build machine no graphics.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
                      --remote-debugging-pipe --disable-background-networking --no-first-run \
                      --user-data-dir=\"$0\" 3<&0 4>&1 </dev/null >&2";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (orders, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (to, told) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let _ = to.send(serde_json::from_slice(&message).unwrap());
            }
        });
        let mut browser = Self {
            child,
            orders,
            told,
            session: Value::Null,
            number: 0,
            events: Vec::new(),
            folder,
        };
        browser.open();
        browser
    }

    fn open(&mut self) {
        let target = self.order("Target.createTarget", json!({"url": "about:blank"}));
        let asked = json!({"targetId": target["targetId"], "flatten": true});
        self.session = self.order("Target.attachToTarget", asked)["sessionId"].clone();
        for domain in [
            "Runtime.enable",
            "Log.enable",
            "Network.enable",
            "Page.enable",
        ] {
            self.order(domain, json!({}));
        }
    }

    /// Gives an order, and waits until it is done.
    pub fn order(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut order = json!({"id": self.number, "method": method, "params": params});
        if !self.session.is_null() {
            order["sessionId"] = self.session.clone();
        }
        let mut text = order.to_string().into_bytes();
        text.push(0);
        self.orders.write_all(&text).unwrap();
        loop {
            let told = self.told.recv_timeout(PATIENCE);
            let told = told.unwrap_or_else(|error| {
                panic!("chromium: {method}: {error}; `cargo xtask test` installs it")
            });
            if told["id"] == self.number {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].clone();
            }
            self.events.push(told);
        }
    }

    /// What an expression of JavaScript is in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let told = self.order("Runtime.evaluate", asked);
        assert!(told["exceptionDetails"].is_null(), "{expression}: {told}");
        told["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let begun = Instant::now();
        while self.value(expression) != true {
            assert!(begun.elapsed() < PATIENCE, "never: {expression}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Goes to a page that draws itself. A browser that was silent for 50 ms after it connected, as on a busy machine,
    /// is told the classic form and has to come again.
    pub fn visit(&mut self, url: &str) {
        let begun = Instant::now();
        while !self.order("Page.navigate", json!({"url": url}))["errorText"].is_null() {
            assert!(begun.elapsed() < PATIENCE, "{url} cannot be visited");
            std::thread::sleep(Duration::from_millis(100));
        }
        self.wait_for("document.querySelector('main')?.hidden === false");
    }

    /// A window of this size, light or dark.
    pub fn dress(&mut self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.order("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.order("Emulation.setEmulatedMedia", json!({"features": features}));
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
    }

    /// Saves what the page looks like into the folder that `TCPKIT_SCREENSHOTS` names.
    pub fn shoot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("TCPKIT_SCREENSHOTS") else {
            return;
        };
        let size = self
            .value("[document.documentElement.clientWidth, document.documentElement.scrollHeight]");
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let asked = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let told = self.order("Page.captureScreenshot", asked);
        let engine = base64::engine::general_purpose::STANDARD;
        let bytes = engine.decode(told["data"].as_str().unwrap()).unwrap();
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), bytes).unwrap();
    }

    /// What happened since the last question: each event's name and what it tells.
    pub fn events(&mut self) -> Vec<(String, Value)> {
        let events = std::mem::take(&mut self.events).into_iter();
        let named = events.map(|event| {
            let name = event["method"].as_str().unwrap_or_default().to_owned();
            (name, event["params"].clone())
        });
        named.collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Its helpers end once they see that it is gone, and may write until then.
        for _ in 0..20 {
            if std::fs::remove_dir_all(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
