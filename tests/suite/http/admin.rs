//! The admin listener of the real binary.

use std::process::Command;

use crate::{
    faults::process::{Jeton, Setup},
    servers::{Aof, Server, until},
};

/// Where it answers probes.
pub fn admin_of(jeton: &Jeton) -> String {
    const BEGIN: &str = "admin listens on ";
    let out = jeton.out_with(BEGIN);
    format!("http://{}", out.lines().find_map(|line| line.strip_prefix(BEGIN)).unwrap())
}

/// The status of what is asked for, by a client that nobody here wrote.
fn status(arguments: &[&str]) -> String {
    let asked = Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}"]).args(arguments).output();
    String::from_utf8(asked.unwrap().stdout).unwrap()
}

#[test]
fn a_process_without_its_store_lives_and_is_not_ready() {
    let mut server = Server::start(Aof::Off);
    let jeton = Setup::redis(&server).env("JETON_ADMIN_LISTEN", "127.0.0.1:0").start();
    let (live, ready) = (format!("{}/livez", admin_of(&jeton)), format!("{}/readyz", admin_of(&jeton)));
    until("it is ready", || status(&[&ready]) == "200");
    server.kill9();
    until("it is not ready", || status(&[&ready]) == "503");
    assert_eq!(status(&[&live]), "200");
    server.restart();
    until("it is ready again", || status(&[&ready]) == "200");
}

#[test]
fn only_what_is_for_operators_stands_there() {
    let jeton = Setup::embedded().env("JETON_ADMIN_LISTEN", "127.0.0.1:0").start();
    let admin = admin_of(&jeton);
    assert_eq!(status(&[&format!("{admin}/")]), "404");
    assert_eq!(status(&["-X", "POST", &format!("{admin}/livez")]), "405");
    assert_eq!(status(&["--http2-prior-knowledge", &format!("{admin}/livez")]), "200");
    // gRPC is served elsewhere, and HTTP/1.1 is not served there.
    assert_eq!(status(&[&format!("http://{}/livez", jeton.address())]), "000");
}
