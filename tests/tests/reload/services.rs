//! A service runs if its content is named. The ports of the others are the kernel's, from the start and after a reload.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use stateless_tcp_tests::client::query;
use stateless_tcp_tests::responder::Responder;
use stateless_tcp_tests::topology::{INTERFACE, SERVERS, Topology};

use super::files::Files;
use super::{A, reload};

const PATIENCE: Duration = Duration::from_mins(1);

/// The beginning of each one's answer.
const KERNEL: &str = "kernel";
const PAGE: &str = "HTTP/1.1 200 OK";
const ZONE: &str = "\x1e\x61";

/// A server of the kernel's TCP at the ports of both services. It answers every request with [`KERNEL`].
fn listen(topology: &Topology) {
    for server in SERVERS {
        for port in [53, 80] {
            let listener = topology.server.enter(|| TcpListener::bind((server, port)).expect("listen"));
            thread::spawn(move || {
                for mut stream in listener.incoming().map_while(Result::ok) {
                    let mut request = [0; 512];
                    // The client sees what went wrong.
                    let _ = stream.read(&mut request).and_then(|_| stream.write_all(KERNEL.as_bytes()));
                }
            });
        }
    }
}

/// Asks at `port` of every address. Returns true if all answers begin with `beginning`.
fn answers(topology: &Topology, port: u16, beginning: &str) -> bool {
    let request = match port {
        53 => query(0x1e61, "small.example.org", A),
        _ => b"GET /page HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec(),
    };
    let ask = |server: IpAddr| {
        let mut stream = TcpStream::connect((server, port)).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
        stream.write_all(&request).expect("send");
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).expect("an answer");
        // Over TCP a length precedes a DNS message.
        let begin = if beginning == ZONE { 2 } else { 0 };
        answer[..length].get(begin..).is_some_and(|answer| answer.starts_with(beginning.as_bytes()))
    };
    topology.client.enter(|| SERVERS.into_iter().all(ask))
}

#[test]
fn a_service_that_is_not_named_leaves_its_port_to_the_kernel() {
    let topology = Topology::new(1);
    let files = Files::new();
    fs::create_dir(files.path("www")).expect("a directory");
    files.write("www/page", "one\n");
    listen(&topology);
    for port in [53, 80] {
        assert!(answers(&topology, port, KERNEL), "nothing serves at port {port} but the kernel");
    }
    let zone = format!("zone = [{:?}]\n", files.path("zone"));
    let pages = format!("http-root = {:?}\n", files.path("www"));
    files.write("s.toml", &zone);
    let run = ["run", "-i", INTERFACE, "--config", &files.path("s.toml")];
    let responder = Responder::try_start(&topology.server, 1, &run).expect("it starts");
    assert!(answers(&topology, 53, ZONE) && answers(&topology, 80, KERNEL), "{}", responder.ready());

    for (configuration, dns, http, said) in [
        (format!("{zone}{pages}"), ZONE, PAGE, "reloaded: 1 zone at port 53 and files at port 80 of "),
        (pages, KERNEL, PAGE, "reloaded: files at port 80 of "),
        (zone, ZONE, KERNEL, "reloaded: 1 zone at port 53 of "),
    ] {
        files.write("s.toml", &configuration);
        let text = reload(&responder).expect("nothing is wrong");
        assert!(text.starts_with(said), "{text}");
        assert!(answers(&topology, 53, dns) && answers(&topology, 80, http), "{text}");
    }

    // Neither built-in content in place of what was served, nor a port of a service that does not run.
    for (configuration, reason) in [
        ("", "no option names content any more"),
        ("http-port = 8080\nzone = [\"zone\"]\n", "--http-port has no effect without --http-root"),
    ] {
        files.write("s.toml", configuration);
        let text = reload(&responder).expect_err("it is refused");
        assert!(text.contains("still serving the previous content") && text.contains(reason), "{text}");
        assert!(answers(&topology, 53, ZONE) && answers(&topology, 80, KERNEL), "{text}");
    }
    responder.stop();
}
