//! As much of HTTP/1.1 as a registry for tests needs: a thread a connection, no TLS.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The first byte of a TLS handshake: somebody finds out what this port speaks.
const TLS_HANDSHAKE: u8 = 0x16;
/// The length of a line of a request.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query's keys and values, decoded.
    pub query: Vec<(String, String)>,
    /// Headers by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body. Shorter than its header says if the connection broke.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns a header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the first value of a key of the query.
    pub fn query(&self, key: &str) -> Option<&str> {
        let found = self.query.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Arc<Vec<u8>>,
    /// The part of the body that is sent; all unless set.
    pub(crate) range: Option<(usize, usize)>,
    /// Break the connection after so many bytes of the body.
    pub(crate) cut_after: Option<usize>,
    /// Wait before each piece of the body.
    pub(crate) delay: Option<Duration>,
    /// End the connection instead of answering.
    pub(crate) hang_up: bool,
}

impl Response {
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Arc::new(bytes.into());
        self
    }
}

/// Answers requests; called from many threads at once.
pub(crate) type Handler = Arc<dyn Fn(Request) -> Response + Send + Sync>;

/// A server on a port of the loopback network, until it is dropped.
pub(crate) struct HttpServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    accept: Option<JoinHandle<()>>,
}

impl HttpServer {
    pub(crate) fn start(handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accept = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let handler = Arc::clone(&handler);
                // The thread ends with its connection.
                std::thread::spawn(move || drop(serve(stream, &handler)));
            }
        });
        Self {
            address,
            stop,
            accept: Some(accept),
        }
    }

    /// Starts one whose requests are answered one after the other, by what they change.
    pub(crate) fn of<S: Default + Send + 'static>(
        answer: fn(&mut S, Request) -> Response,
    ) -> (Self, Arc<Mutex<S>>) {
        let state = Arc::new(Mutex::new(S::default()));
        let shared = Arc::clone(&state);
        let server = Self::start(Arc::new(move |request| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut state, request)
        }));
        (server, state)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.accept.take() {
            drop(thread.join());
        }
    }
}

fn serve(stream: TcpStream, handler: &Handler) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        match reader.fill_buf()?.first() {
            None | Some(&TLS_HANDSHAKE) => return Ok(()),
            Some(_) => {}
        }
        let request = read_request(&mut reader)?;
        let head = request.method == "HEAD";
        let response = handler(request);
        if !write_response(&mut writer, &response, head)? {
            return writer.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let first = read_line(reader)?;
    let mut parts = first.split(' ');
    let method = parts.next().unwrap_or_default().to_owned();
    let mut target = parts.next().unwrap_or_default();
    // A proxy is asked for a whole address.
    if let Some(rest) = target.strip_prefix("http://") {
        target = rest.find('/').map_or("/", |at| &rest[at..]);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
    }
    let body = read_body(reader, &headers)?;
    Ok(Request {
        method,
        path: decode(path),
        query: pairs(query),
        headers,
        body,
    })
}

/// Reads the body, or as much of it as comes before the connection breaks.
fn read_body(
    reader: &mut BufReader<TcpStream>,
    headers: &BTreeMap<String, String>,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|value| value == "chunked")
    {
        loop {
            let size = read_line(reader)?;
            let size = u64::from_str_radix(&size, 16).unwrap_or(0);
            reader.by_ref().take(size).read_to_end(&mut body)?;
            read_line(reader)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = headers
        .get("content-length")
        .and_then(|value| value.parse().ok());
    // A reset connection is the end of the body too.
    drop(
        reader
            .by_ref()
            .take(length.unwrap_or(0))
            .read_to_end(&mut body),
    );
    Ok(body)
}

/// Returns whether the connection can be used again.
fn write_response(writer: &mut TcpStream, response: &Response, head: bool) -> io::Result<bool> {
    if response.hang_up {
        return Ok(false);
    }
    let (start, end) = response.range.unwrap_or((0, response.body.len()));
    let body = &response.body[start..end];
    let mut text = format!("HTTP/1.1 {} x\r\n", response.status);
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if response.status != 204 {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    writer.write_all(text.as_bytes())?;
    if head {
        return Ok(true);
    }
    let sent = response
        .cut_after
        .map_or(body, |cut| &body[..cut.min(body.len())]);
    for piece in sent.chunks(if response.delay.is_some() {
        16
    } else {
        64 * 1024
    }) {
        if let Some(delay) = response.delay {
            std::thread::sleep(delay);
        }
        writer.write_all(piece)?;
    }
    writer.flush()?;
    Ok(response.cut_after.is_none())
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (
                decode(&key.replace('+', " ")),
                decode(&value.replace('+', " ")),
            )
        })
        .collect()
}

/// Decodes `%41`.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        let value = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        match (first, value) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            (other, _) => {
                bytes.push(*other);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
