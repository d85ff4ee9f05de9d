//! A small RESP client (RESP2 and RESP3), independent of the library's own reading of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A connection to a redis server.
pub struct Client {
    input: BufReader<Box<dyn Read>>,
    output: Box<dyn Write>,
}

/// A reply of any type.
#[derive(Debug)]
pub struct Reply {
    /// Its type byte: `+`, `-`, `:`, `$`, `*`, `%`, `>` and so on.
    pub kind: u8,
    /// A simple type's line, a bulk string's bytes.
    pub text: Vec<u8>,
    /// An aggregate's elements.
    pub items: Vec<Reply>,
}

impl Client {
    /// Connects over TCP, with small writes sent at once.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn tcp(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream.try_clone()?, stream))
    }

    /// Connects over a Unix socket, out of sight of a capture.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn unix(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| format!("{}", path.display()))?;
        Ok(Self::over(stream.try_clone()?, stream))
    }

    fn over(input: impl Read + 'static, output: impl Write + 'static) -> Self {
        Self {
            input: BufReader::new(Box::new(input)),
            output: Box::new(output),
        }
    }

    /// Sends bytes as they are, in one write.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes)?;
        Ok(self.output.flush()?)
    }

    /// Sends a command and waits for one reply.
    ///
    /// # Errors
    /// When the connection is gone or the reply is no RESP.
    pub fn ask(&mut self, words: &[&str]) -> Result<Reply> {
        self.send(&command(words))?;
        self.reply()
    }

    /// Waits for one reply.
    ///
    /// # Errors
    /// When the connection is gone or the reply is no RESP.
    pub fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let Some((&kind, rest)) = line.split_first() else {
            bail!("an empty reply")
        };
        let mut reply = Reply {
            kind,
            text: rest.to_vec(),
            items: Vec::new(),
        };
        match kind {
            b'$' | b'=' | b'!' => reply.text = self.bulk(number(rest)?)?,
            b'*' | b'~' | b'>' => reply.items = self.items(number(rest)?)?,
            b'%' => reply.items = self.items(number(rest)? * 2)?,
            // An attribute comes before the reply that it belongs to.
            b'|' => {
                self.items(number(rest)? * 2)?;
                return self.reply();
            }
            _ => {}
        }
        Ok(reply)
    }

    fn items(&mut self, count: i64) -> Result<Vec<Reply>> {
        (0..count).map(|_| self.reply()).collect()
    }

    fn bulk(&mut self, length: i64) -> Result<Vec<u8>> {
        let Ok(length) = usize::try_from(length) else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; length + 2];
        self.input.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.to_vec()),
            None => bail!("the server closed the connection"),
        }
    }
}

impl Reply {
    /// Its own text, lossily.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// A command as an array of bulk strings.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
    bytes
}

fn number(digits: &[u8]) -> Result<i64> {
    let text = String::from_utf8_lossy(digits);
    text.parse()
        .with_context(|| format!("`{text}` is no length"))
}
