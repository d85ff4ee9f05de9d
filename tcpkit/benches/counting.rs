//! What statistics cost an exchange: all of them, and those of the summary alone, against a sink that counts nothing.
//!
//! `cargo bench --bench counting -- FILE ROUNDS [null|summary|all]`: the exchanges of a capture file are kept in memory,
//! and told so often to each sink, by turns, as pairing tells them. `all` is what a run counts whose statistics are served:
//! port, command, client, slowest, windows; with the thread that adds up. `cargo xtask bench stats` runs it.
#![expect(clippy::print_stdout, reason = "it reports to whoever runs it")]

use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tcpkit::event::Event;
use tcpkit::exchange::{Exchange, OneWay, Report, Service, Tally, Unanswered};
use tcpkit::flow::Endpoints;
use tcpkit::pipeline::outlet::Outlet;
use tcpkit::pipeline::owners::Owners;
use tcpkit::pipeline::select::{Kind, Selector};
use tcpkit::pipeline::worker::{Settings, Worker};
use tcpkit::serve::{Keeper, Settings as Served};
use tcpkit::sink::stats::snapshot::KeyForm;
use tcpkit::sink::stats::{Metrics, Rules, Stats};
use tcpkit::sink::{Needs, Sink};
use tcpkit::source::file::FileSource;
use tcpkit::source::{SourceError, Timestamp};

/// Exchanges that are told in a round: more than a cache holds.
const EXCHANGES: usize = 400_000;

const SINKS: [&str; 3] = ["null", "summary", "all"];

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut args = args.iter().filter(|arg| !arg.starts_with("--"));
    let (Some(file), Some(rounds)) = (args.next(), args.next()) else {
        // What `cargo test --benches` asks for.
        return Ok(());
    };
    let (rounds, only): (usize, _) = (rounds.parse().context("ROUNDS")?, args.next());
    let recording = Recording::of(Path::new(file))?;
    ensure!(!recording.exchanges.is_empty(), "{file}: no exchanges");
    println!("exchanges: {}", recording.exchanges.len());
    let mut costs = SINKS.map(|_| Vec::new());
    for _ in 0..rounds {
        for (sink, costs) in SINKS.iter().zip(&mut costs) {
            if only.is_none_or(|only| only == sink) {
                costs.push(recording.cost(sink)?);
            }
        }
    }
    for (sink, costs) in SINKS.iter().zip(costs) {
        if let Some([own, whole]) = median(costs) {
            println!("{sink}: {own:.2} ns an exchange, {whole:.2} ns with all threads");
        }
    }
    Ok(())
}

/// Exchanges, and the bytes of their texts.
#[derive(Default)]
struct Recording {
    exchanges: Vec<Recorded>,
    texts: Vec<u8>,
}

/// As [`Exchange`], but its own.
struct Recorded {
    endpoints: Endpoints,
    text: Range<usize>,
    exchange: Exchange<'static>,
}

impl Recording {
    fn of(file: &Path) -> Result<Self> {
        let recorder = Recorder::default();
        let settings = Settings {
            selector: Arc::new(Selector::new(Kind::Auto, Vec::new())),
            timeout: Duration::from_secs(60),
            threshold: None,
            worker: 0,
            owners: Owners::alone(),
        };
        let stats = Stats::new(Rules::default(), &[]);
        let mut worker = Worker::new(
            settings,
            Outlet::new(stats, vec![Box::new(recorder.clone())]),
        );
        let told = |SourceError(why)| anyhow::anyhow!(why);
        FileSource::open(file)
            .map_err(told)?
            .each_batch(256, |frames| {
                worker.frames(frames);
                worker.outlet().exchanges < EXCHANGES as u64
            })
            .map_err(told)?;
        worker.finish();
        let mut recording = recorder.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *recording))
    }

    /// Nanoseconds an exchange, of this thread and of all.
    fn cost(&self, sink: &str) -> Result<[f64; 2]> {
        let mut stats = Stats::new(Rules::default(), &[]);
        let services: Vec<Service> = self
            .exchanges
            .iter()
            .map(
                |Recorded {
                     endpoints,
                     exchange,
                     ..
                 }| { stats.service(endpoints.server.port(), exchange.protocol) },
            )
            .collect();
        match sink {
            "null" => Ok(self.timed(&services, &mut Null)),
            "summary" => Ok(self.timed(&services, &mut Outlet::new(stats, Vec::new()))),
            _ => {
                let keeper = Keeper::start(Served {
                    rules: Rules::default(),
                    asked: Vec::new(),
                    keys: KeyForm::None,
                    mode: "auto",
                    live: true,
                    scripts: Metrics::default(),
                    pushes: None,
                })?;
                let mut outlet = Outlet::new(stats, Vec::new()).with_desk(Some(keeper.desk(0)));
                Ok(self.timed(&services, &mut outlet))
            }
        }
    }

    fn timed(&self, services: &[Service], sink: &mut impl Ticking) -> [f64; 2] {
        let now = || {
            [
                libc::CLOCK_THREAD_CPUTIME_ID,
                libc::CLOCK_PROCESS_CPUTIME_ID,
            ]
            .map(time)
        };
        let begun = now();
        replay(self, services, sink);
        let ended = now();
        [0, 1].map(|at| (ended[at] - begun[at]).as_secs_f64() * 1e9 / services.len() as f64)
    }
}

/// What a clock shows. By the C library: valgrind does not run what rustix does instead.
fn time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: there is room for the time; a clock that is not known leaves it as it is.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Tells all exchanges as pairing does, and whole seconds as a worker does.
#[inline(never)]
fn replay(recording: &Recording, services: &[Service], sink: &mut impl Ticking) {
    let mut second = 0;
    for (recorded, &service) in recording.exchanges.iter().zip(services) {
        let exchange = Exchange {
            endpoints: &recorded.endpoints,
            text: &recording.texts[recorded.text.clone()],
            ..recorded.exchange.clone()
        };
        if let Some(tally) = Tally::of(&exchange) {
            sink.answered(service, &tally);
        }
        if sink.wants_exchanges() {
            sink.exchange(service, &exchange);
        }
        let time = exchange.response.map_or(0, |response| response.last.time.0);
        if time / 1_000_000_000 > second {
            second = time / 1_000_000_000;
            sink.tick(Timestamp(second * 1_000_000_000));
        }
    }
}

/// What is told by a worker beside what pairing finds.
trait Ticking: Report {
    fn tick(&mut self, now: Timestamp);
}

impl Ticking for Outlet {
    fn tick(&mut self, now: Timestamp) {
        Self::tick(self, now);
    }
}

/// Takes everything, counts nothing.
struct Null;

impl Ticking for Null {
    fn tick(&mut self, now: Timestamp) {
        black_box(now);
    }
}

impl Report for Null {
    fn answered(&mut self, service: Service, tally: &Tally) {
        black_box((service, tally));
    }

    fn wants_exchanges(&self) -> bool {
        true
    }

    fn exchange(&mut self, service: Service, exchange: &Exchange<'_>) {
        black_box((service, exchange));
    }

    fn ambiguous(&mut self, _: Service) {}
    fn unanswered(&mut self, _: Service, _: &Unanswered<'_>) {}
    fn one_way(&mut self, _: Service, _: &OneWay) {}
    fn orphan(&mut self, _: Service) {}
    fn late(&mut self, _: Service) {}
    fn overflow(&mut self, _: Service) {}
}

/// Keeps exchanges.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Recording>>);

impl Sink for Recorder {
    fn needs(&self) -> Needs {
        Needs {
            text: true,
            packets: false,
        }
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let Event::Exchange(exchange) = event else {
            return Ok(());
        };
        let mut recording = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = recording.texts.len();
        recording.texts.extend_from_slice(exchange.text);
        let text = begin..recording.texts.len();
        recording.exchanges.push(Recorded {
            endpoints: *exchange.endpoints,
            text,
            exchange: exchange.detached(),
        });
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn median(mut costs: Vec<[f64; 2]>) -> Option<[f64; 2]> {
    let middle = costs.len() / 2;
    costs.sort_by(|a, b| a[1].total_cmp(&b[1]));
    costs.get(middle).copied()
}
