//! The thread that answers clients of the statistics port.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::guest;
use super::health::Health;
use super::keeper::Reader;
use super::pages::Pages;
use super::routes::Routes;
use crate::limits;

/// Threads that make answers; one renders while another waits for counts.
const MAKERS: usize = 2;

/// After a connection could not be accepted (too many open files), the next one is tried so much later.
const RETRY: Duration = Duration::from_millis(20);

/// The thread, and how it is ended.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Begins to answer at `listeners`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        listeners: Vec<TcpListener>,
        reader: Reader,
        mode: &'static str,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAKERS)
            .build()?;
        let listeners = {
            let _entered = runtime.enter();
            listeners
                .into_iter()
                .map(tokio::net::TcpListener::from_std)
                .collect::<io::Result<Vec<_>>>()?
        };
        let routes = Arc::new(Routes {
            pages: Pages::new(reader.clone(), mode),
            health: Health::new(reader),
        });
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("tcpkit-http".to_owned())
            .spawn(move || {
                runtime.block_on(serve(listeners, &routes, stopped));
                runtime.shutdown_timeout(Duration::from_millis(100));
            })?;
        Ok(Self { stop, thread })
    }

    /// Ends answering.
    pub fn end(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

async fn serve(
    listeners: Vec<tokio::net::TcpListener>,
    routes: &Arc<Routes>,
    mut stopped: watch::Receiver<bool>,
) {
    for listener in listeners {
        tokio::spawn(accept(listener, Arc::clone(routes)));
    }
    let watched = Arc::clone(routes);
    tokio::spawn(async move {
        loop {
            watched.health.look();
            tokio::time::sleep(limits::STALL_TIME / 4).await;
        }
    });
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// Accepts clients; of more than [`limits::READERS`] the oldest makes room.
async fn accept(listener: tokio::net::TcpListener, routes: Arc<Routes>) {
    let mut guests: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            guests.pop_front().inspect(AbortHandle::abort);
            tokio::time::sleep(RETRY).await;
            continue;
        };
        if guests.len() >= limits::READERS {
            guests.retain(|guest| !guest.is_finished());
        }
        if guests.len() >= limits::READERS {
            guests.pop_front().inspect(AbortHandle::abort);
        }
        let guest = tokio::spawn(guest::serve(stream, Arc::clone(&routes)));
        guests.push_back(guest.abort_handle());
    }
}
