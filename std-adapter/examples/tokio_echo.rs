//! An echo server and its clients as tasks of tokio.
//!
//! `cargo run --features tokio --example tokio_echo`

use std::io;

use smstream::Kind;
use smstream::tokio::{Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CLIENTS: usize = 10;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = Listener::bind_temp(Kind::Abstract)?;
    let addr = listener.local_addr().clone();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok(stream) => drop(tokio::spawn(echo(stream))),
                Err(e) => eprintln!("cannot accept: {e}"),
            }
        }
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let addr = addr.clone();
            tokio::spawn(async move {
                let mut stream = Stream::connect(addr).await?;
                stream.write_all(format!("client {number}").as_bytes()).await?;
                stream.shutdown().await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                println!("{answer}");
                io::Result::Ok(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    Ok(())
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    tokio::io::copy(&mut reader, &mut writer).await?;
    writer.shutdown().await
}
