//! The examples do what they say.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A program that is ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds an example, which a test of its own does not, and says where it is.
fn example(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "smstream", "--example", name, "--features", "tokio"]);
    let here = std::env::current_exe().expect("the path of the test");
    if here.ancestors().any(|part| part.ends_with("release")) {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo runs").success(), "the example {name} does not build");
    // target/PROFILE/deps/THIS
    let at = here.ancestors().nth(2).expect("the profile's directory").join("examples").join(name);
    assert!(at.exists(), "{} is missing: the test and the examples are of different profiles", at.display());
    at
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let mut lines: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect();
    lines.sort_unstable();
    lines
}

/// The lines that this many clients print, in the order of text.
fn clients(count: usize) -> Vec<String> {
    let mut all: Vec<_> = (0..count).map(|number| format!("client {number}")).collect();
    all.sort_unstable();
    all
}

fn run(name: &str) -> Vec<String> {
    lines(&Command::new(example(name)).output().expect("it starts"))
}

#[test]
fn many_clients() {
    assert_eq!(run("many_clients"), clients(20));
}

#[test]
fn mio_epoll() {
    assert_eq!(run("mio_epoll"), clients(10));
}

#[test]
fn tokio_echo() {
    assert_eq!(run("tokio_echo"), clients(10));
}

#[test]
fn fork_exec() {
    let [line] = &run("fork_exec")[..] else { panic!("one line") };
    assert!(line.starts_with("process ") && line.ends_with(" has done the work"), "{line}");
}

#[test]
fn framing() {
    let printed = run("framing");
    assert_eq!(printed.len(), 10);
    assert!(printed.iter().all(|line| line.starts_with("message ") && line.ends_with(" of 10")), "{printed:?}");
}

#[test]
fn echo() {
    let addr = format!("unix:@smstream-example-{}", std::process::id());
    let mut server = Command::new(example("echo_server")).arg(&addr).stdout(Stdio::piped()).spawn().expect("it starts");
    let output = server.stdout.take().expect("a pipe");
    let _server = Server(server);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("it says so");
    assert_eq!(line, format!("listening at {addr}\n"));
    let mut client = Command::new(example("echo_client"))
        .arg(&addr)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    // More than the lanes hold.
    let text = "hello\n".repeat(200_000);
    let mut input = client.stdin.take().expect("a pipe");
    let sent = text.clone();
    let sender = std::thread::spawn(move || input.write_all(sent.as_bytes()));
    let output = client.wait_with_output().expect("it ends");
    sender.join().expect("no panic").expect("it takes all");
    assert!(output.status.success());
    assert!(output.stdout == text.as_bytes(), "{} of {} bytes came back", output.stdout.len(), text.len());
}
