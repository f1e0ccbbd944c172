//! Both sides of the HTTP relay: web servers, one real and one that does what a test says; and a client that shows
//! every byte.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::{NamedTempFile, TempDir};

use crate::netns::Netns;

/// Time limit for anything that is to happen at once, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The upstreams' port: at every address of their namespace, so that they can be asked directly as well.
pub const PORT: u16 = 8080;
/// The responder's options for them.
pub const BACK_END: &str = "127.0.0.1:8080";

/// A configuration file with a relay to the back end, and these lines in its table `[http]`.
pub fn configuration(lines: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    write!(file, "http-relay = '{BACK_END}'\n[http]\n{lines}\n").expect("write the configuration");
    file
}

/// A running nginx. Dropped, it is killed.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    directory: TempDir,
}

impl Nginx {
    /// Serves the files under `root` in `namespace`, as the lines `locations` of its server block say.
    pub fn start(namespace: &Netns, root: &Path, locations: &str) -> Self {
        let directory = TempDir::with_prefix("nginx-").expect("a directory");
        let at = directory.path().display();
        let configuration = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\nevents {{}}\nhttp {{\n\
             include /etc/nginx/mime.types; access_log {at}/access.log;\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;\n\
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n\
             log_format short '$connection $request_method $request_uri'; access_log {at}/short.log short;\n\
             server {{ listen {PORT}; listen [::]:{PORT}; root {}; absolute_redirect off;\n{locations}\n}}\n}}\n",
            root.display()
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).expect("write the configuration");
        let process = namespace
            .command("nginx")
            .arg("-e")
            .arg(directory.path().join("error.log"))
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start nginx");
        let mut nginx = Self { process, directory };
        let end = Instant::now() + PATIENCE;
        while namespace.enter(|| TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).is_err()) {
            let ended = nginx.process.try_wait().expect("look at nginx");
            let log = fs::read_to_string(nginx.directory.path().join("error.log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < end, "nginx does not listen:\n{log}");
            sleep(Duration::from_millis(20));
        }
        nginx
    }

    /// A line a request: connection, method, target.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("short.log")).expect("its log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A back end that does what the test says. It ends with the test.
#[derive(Debug)]
pub struct HttpUpstream {
    listener: TcpListener,
    state: Arc<UpstreamState>,
}

#[derive(Debug, Default)]
struct UpstreamState {
    /// Each, and whether it was the first on its connection.
    requests: Mutex<Vec<(String, bool)>>,
    connections: AtomicUsize,
    closed: AtomicUsize,
}

impl HttpUpstream {
    /// Listens in `namespace`, and has `answer` answer each request, whose head and body it is given, on its connection,
    /// which goes on if it says so.
    pub fn start(
        namespace: &Netns,
        answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let listener = namespace.enter(|| TcpListener::bind((any, PORT)).expect("listen"));
        let state = Arc::new(UpstreamState::default());
        let (accepting, shared) = (listener.try_clone().expect("a second handle"), Arc::clone(&state));
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                shared.connections.fetch_add(1, SeqCst);
                let (answer, state) = (Arc::clone(&answer), Arc::clone(&shared));
                std::thread::spawn(move || {
                    converse(stream, &*answer, &state);
                    state.closed.fetch_add(1, SeqCst);
                });
            }
        });
        Self { listener, state }
    }

    /// Every request that has come so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.state.requests.lock().expect("no thread panicked");
        requests.iter().map(|(request, _)| request.clone()).collect()
    }

    /// Whether the last request was the first on its connection.
    pub fn last_was_first(&self) -> bool {
        self.state.requests.lock().expect("no thread panicked").last().is_some_and(|(_, first)| *first)
    }

    /// Number of connections.
    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    /// Number of connections that have ended.
    pub fn closed(&self) -> usize {
        self.state.closed.load(SeqCst)
    }
}

impl Drop for HttpUpstream {
    fn drop(&mut self) {
        // The thread that accepts is woken, and ends.
        let _ = nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&self.listener),
            nix::sys::socket::Shutdown::Both,
        );
    }
}

fn converse(mut stream: TcpStream, answer: &dyn Fn(&str, &mut TcpStream) -> bool, state: &UpstreamState) {
    let mut bytes = Vec::new();
    for number in 0.. {
        let mut part = [0; 4096];
        let length = loop {
            if let Some(length) = request_length(&bytes) {
                break length;
            }
            match stream.read(&mut part) {
                Ok(read @ 1..) => bytes.extend_from_slice(&part[..read]),
                _ => return,
            }
        };
        let request: Vec<u8> = bytes.drain(..length).collect();
        let request = String::from_utf8_lossy(&request).into_owned();
        state.requests.lock().expect("no thread panicked").push((request.clone(), number == 0));
        if !answer(&request, &mut stream) {
            return;
        }
    }
}

/// Bytes of the request at the front, once all are there.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let body = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = head + body.map_or(0, |length| length.trim().parse().expect("a length"));
    (bytes.len() >= length).then_some(length)
}

/// Ends the connection by RST.
pub fn reset(stream: &TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger).expect("set linger");
    // What is still to be read would be reason enough; the last handle closes it.
    let _ = stream.shutdown(Shutdown::Read);
}

/// A response, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status line's number.
    pub status: u16,
    /// Names in lower case, and values, in order.
    pub fields: Vec<(String, String)>,
    /// All bytes behind the head.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Reads bytes as a response and its body.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let parsed = head.parse(bytes);
        let Ok(httparse::Status::Complete(length)) = parsed else {
            panic!("no response: {parsed:?}: {}", String::from_utf8_lossy(bytes))
        };
        let field = |field: &httparse::Header<'_>| {
            (field.name.to_ascii_lowercase(), String::from_utf8_lossy(field.value).into_owned())
        };
        Self {
            status: head.code.expect("a status"),
            fields: head.headers.iter().map(field).collect(),
            body: bytes[length..].to_vec(),
        }
    }

    /// The value of a field, which stands once at most.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} stands twice: {self:?}");
        value
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// All that `server` sends on one connection on which it is sent `request`, up to FIN.
///
/// # Errors
/// It cannot be reached, resets, or takes longer than `patience` between two segments.
pub fn try_ask(server: SocketAddr, request: &[u8], patience: Duration) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// What `server` answers to `method` and `path` on a connection of their own, asked from `client`.
pub fn ask(client: &Netns, server: IpAddr, method: &str, path: &str) -> HttpResponse {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n");
    ask_bytes(client, server, request.as_bytes())
}

/// What `server` answers to `request`, which ends its connection.
pub fn ask_bytes(client: &Netns, server: IpAddr, request: &[u8]) -> HttpResponse {
    let answer = client.enter(|| try_ask(SocketAddr::new(server, 80), request, PATIENCE));
    HttpResponse::parse(
        &answer.unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(request))),
    )
}
