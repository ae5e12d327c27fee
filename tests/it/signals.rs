//! The signals that ask a process to end, sent to a process of its own: this test binary once more.

use std::{
    env,
    future::IntoFuture,
    io::{BufRead, BufReader, Write, stdin},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use futures::FutureExt;
use tokio::task::spawn_blocking;
use wawo::{Peer, Server, shutdown_signal};

use crate::{
    logged::Log,
    support::{EchoClient, EchoServer, Parrot, Seen, message},
};

/// The variable that makes this binary the server which gets the signals.
const IS_SERVER: &str = "WAWO_IT_SIGNALS";

/// A server in another process.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start() -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "signals::server", "--nocapture"]);
        command.env(IS_SERVER, "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Windows signals whole groups, and the tests are not to be signalled.
        #[cfg(windows)]
        {
            use std::os::windows::process::CommandExt;
            command.creation_flags(windows_sys::Win32::System::Threading::CREATE_NEW_PROCESS_GROUP);
        }
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// Reads until a line ends with the text.
    fn expect(&mut self, text: &str) {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let bytes = self.output.read_line(&mut line).unwrap();
            assert!(bytes > 0, "no `{text}` in {lines:?}");
            if line.trim_end().ends_with(text) {
                return;
            }
            lines.push(line);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first signal begins a drain; the second one would end a process that does not listen any more.
fn a_second_signal_does_not_end_a_drain(send: impl Fn(&Process)) {
    let mut process = Process::start();
    process.expect("serving");
    send(&process);
    process.expect("draining");
    for _ in 0..2 {
        send(&process);
    }
    process.input.write_all(b"go on\n").unwrap();
    process.expect("drained, 1 call finished");
    assert!(process.child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn a_second_sigterm_or_ctrl_c_does_not_end_a_drain() {
    use rustix::process::{Pid, Signal, kill_process};

    for signal in [Signal::TERM, Signal::INT] {
        a_second_signal_does_not_end_a_drain(|process| {
            kill_process(Pid::from_child(&process.child), signal).unwrap();
        });
    }
}

/// Ctrl-C cannot be sent to one process only; it goes the same way.
#[cfg(windows)]
#[test]
fn a_second_ctrl_break_does_not_end_a_drain() {
    use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, GenerateConsoleCtrlEvent};

    a_second_signal_does_not_end_a_drain(|process| {
        #[allow(
            unsafe_code,
            reason = "it takes two numbers, and has no other conditions"
        )]
        // SAFETY: the function has no preconditions.
        let sent = unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, process.child.id()) };
        assert_ne!(sent, 0, "{}", std::io::Error::last_os_error());
    });
}

/// The server of the tests above; alone, it does nothing.
#[tokio::test]
async fn server() {
    if env::var_os(IS_SERVER).is_none() {
        return;
    }
    let (log, _guard) = Log::begin();
    let parrot = Parrot::default();
    let server = Server::builder().add_service(EchoServer::new(parrot.clone()));
    let server = server.bind("mem://signals").await.unwrap();
    let mut signal = Box::pin(shutdown_signal());
    assert!(signal.as_mut().now_or_never().is_none());
    let running = tokio::spawn(server.run_until(signal));
    let peer = Peer::connect("mem://signals").await.unwrap();
    let held = tokio::spawn(EchoClient::new(&peer).act(message("hold")).into_future());
    let begun = |seen: &Seen| seen.begun.load(std::sync::atomic::Ordering::SeqCst) > 0;
    parrot.0.until(begun).await;
    println!("serving");

    peer.draining().await;
    println!("draining");
    let line = spawn_blocking(|| stdin().read_line(&mut String::new()));
    line.await.unwrap().unwrap();
    parrot.0.release.notify_one();
    held.await.unwrap().unwrap();
    let report = running.await.unwrap().unwrap();
    let lines = log.lines("asked to end signal=");
    assert_eq!(lines.len(), 1, "{log:?}");
    println!("drained, {} call finished", report.finished);
}
