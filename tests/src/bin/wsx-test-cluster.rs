//! The embedded cluster as a program, for those who are not written in Rust.
//!
//! Prints the path of the kubeconfig as its one line, and ends with its stdin or on SIGTERM.

use std::io::{self, Read as _, Write as _};

use tokio::signal::unix::{SignalKind, signal};
use wsx_tests::cluster::Cluster;

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Before the line is printed, so that whoever has read it may send the signal.
    let signals = {
        let _inside = runtime.enter();
        [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ]
        .map(signal)
    };
    let cluster = Cluster::spawn()?;
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", cluster.kubeconfig().display())?;
    stdout.flush()?;

    // stdin's thread --its end--> main; a thread that reads cannot be joined, and need not be.
    let (ended_tx, ended_rx) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Ok(1..) = stdin.read(&mut [0; 1024]) {}
        ended_tx.send(())
    });
    let [terminate, interrupt, hangup] = signals;
    let (mut terminate, mut interrupt, mut hangup) = (terminate?, interrupt?, hangup?);
    runtime.block_on(async {
        tokio::select! {
            _ = ended_rx => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    });
    drop(cluster);
    Ok(())
}
