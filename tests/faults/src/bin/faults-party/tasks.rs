//! With tokio, in a runtime of one thread.

use crate::blocking::builder;
use crate::data;
use crate::task::Task;
use smstream::tokio::{Listener, Stream, connect_with};
use std::io::{self, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Meets once, and exchanges the bytes.
pub fn run(task: &Task) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| io::Error::new(e.kind(), format!("the program cannot make a runtime: {e}")))?;
    runtime.block_on(async {
        if task.side == "listen" {
            let listener = Listener::from_std(builder().bind(task.addr.as_str())?)?;
            let accepted = tokio::time::timeout(task.patience, listener.accept()).await;
            let late = |_| io::Error::new(ErrorKind::TimedOut, "the program has waited long enough for a connector");
            exchange(accepted.map_err(late)??, false).await?;
            Ok(listener.into_std().close()?)
        } else {
            exchange(connect_with(&builder(), task.addr.as_str()).await?, true).await
        }
    })
}

async fn exchange(mut stream: Stream, is_connector: bool) -> io::Result<()> {
    if is_connector {
        stream.write_all(&data::pattern(true)).await?;
        stream.shutdown().await?;
    }
    let mut came = Vec::new();
    let result = stream.read_to_end(&mut came).await;
    data::check(&came, !is_connector);
    result?;
    data::whole(&came, !is_connector)?;
    if !is_connector {
        stream.write_all(&data::pattern(false)).await?;
        stream.shutdown().await?;
    }
    Ok(())
}
