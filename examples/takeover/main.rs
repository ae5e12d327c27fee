//! A new process takes over from the old one without refusing a client: the new process gets the
//! listening socket of the old one, and then the old one drains.
//!
//! `cargo run --example takeover` runs both, with clients that connect and disconnect meanwhile.
//! The new process is started with the argument `successor`, and has the socket as its standard
//! input. A service manager such as systemd does the same with `StandardInput=socket`.

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod ping_pong {
    wawo::include_proto!("ping_pong");
}

#[cfg(not(unix))]
fn main() {
    println!("this example hands a socket to another process, as Unix does it");
}

#[cfg(unix)]
fn main() -> Result<(), unix::Error> {
    unix::main()
}

#[cfg(unix)]
mod unix {
    use std::{
        collections::BTreeMap,
        env,
        io::{BufRead, BufReader},
        net::TcpListener,
        os::fd::{AsFd, OwnedFd},
        process::{Child, Command, Stdio, id},
        time::Duration,
    };

    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;
    use wawo::{Context, Peer, Result, Server};

    use crate::ping_pong::{Ping, PingPong, PingPongClient, PingPongServer, Pong, UsageReply};

    pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

    /// Answers with the process that it runs in.
    struct Table;

    impl PingPong for Table {
        async fn play(&self, _cx: Context, _: Ping) -> Result<Pong> {
            let ball = id().to_string().into();
            Ok(Pong { ball })
        }

        async fn usage(&self, _cx: Context, (): ()) -> Result<UsageReply> {
            Ok(UsageReply::default())
        }
    }

    #[tokio::main]
    pub(crate) async fn main() -> Result<(), Error> {
        match env::args().nth(1).as_deref() {
            Some("successor") => {
                let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
                let server = server_at(TcpListener::from(socket))?;
                // From now on, the parent may drain the old process.
                println!("ready");
                Ok(server.run().await?)
            }
            _ => play().await,
        }
    }

    fn server_at(listener: TcpListener) -> Result<Server, Error> {
        let table = PingPongServer::new(Table);
        let mut server = Server::builder().add_service(table).build()?;
        server.listen_on(listener)?;
        Ok(server)
    }

    async fn play() -> Result<(), Error> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let old = server_at(listener.try_clone()?)?;
        let handle = old.handle();
        let old = tokio::spawn(old.run());

        let end = CancellationToken::new();
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            clients.spawn(come_and_go(address.clone(), end.clone()));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut successor = start_successor(listener)?;
        let report = handle.drain(Duration::from_secs(10)).await;
        old.await??;
        println!("process {} drained {} peers", id(), report.peers);
        tokio::time::sleep(Duration::from_millis(300)).await;
        end.cancel();

        let mut served = BTreeMap::new();
        while let Some(client) = clients.join_next().await {
            for (process, calls) in client?? {
                *served.entry(process).or_insert(0) += calls;
            }
        }
        for (process, calls) in served {
            println!("{calls} calls were answered by process {process}");
        }
        println!("no connect failed");
        successor.kill()?;
        successor.wait()?;
        Ok(())
    }

    /// Starts the new process, and waits until it accepts connections.
    fn start_successor(listener: TcpListener) -> Result<Child, Error> {
        let mut successor = Command::new(env::current_exe()?)
            .arg("successor")
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::piped())
            .spawn()?;
        let output = successor.stdout.take().ok_or("it has an output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        println!("process {} is {}", successor.id(), line.trim_end());
        Ok(successor)
    }

    /// Connects repeatedly, and counts the calls that each process answers. A failed connect is an
    /// error.
    async fn come_and_go(
        address: String,
        end: CancellationToken,
    ) -> Result<BTreeMap<String, usize>, Error> {
        let mut served = BTreeMap::new();
        while !end.is_cancelled() {
            let peer = Peer::connect(&*address).await?;
            match PingPongClient::new(&peer).play(Ping::default()).await {
                Ok(pong) => *served.entry(text(&pong)).or_insert(0) += 1,
                // The old process drains, and refused the call unserved.
                Err(status) if status.is_safe_to_retry() => {}
                Err(status) => return Err(status.into()),
            }
        }
        Ok(served)
    }

    fn text(pong: &Pong) -> String {
        String::from_utf8_lossy(&pong.ball).into_owned()
    }
}
