//! Parses the output of strace into system calls, with the order of their beginnings and ends.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// All calls that change files or send data to clients.
pub const CALLS: &str = "openat,open,creat,close,dup,dup2,dup3,fcntl,write,pwrite64,writev,pwritev,pwritev2,ftruncate,\
truncate,fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,\
fdatasync,syncfs,sync,accept4,sendto,sendmsg,lseek,copy_file_range,sendfile,splice,io_uring_setup";

/// One system call.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    pub args: Vec<Arg>,
    /// `None` if the process ended in it.
    pub result: Option<i64>,
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub enum Arg {
    /// Text as strace writes it.
    Text(String),
    /// A buffer, or the concatenated buffers of a vector.
    Bytes(Vec<u8>),
}

/// The beginning or end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin(usize),
    End(usize),
    /// Another process begins, with no file open.
    NewLife,
}

/// The calls of all lives of a server, and their order.
#[derive(Debug, Default)]
pub struct Trace {
    pub calls: Vec<Call>,
    pub steps: Vec<Step>,
}

/// Writes a script that runs a program under strace. The program keeps the script's process id.
pub fn wrapper(binary: &Path, output: &Path, script: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let found = Command::new("strace").arg("--version").output();
    ensure!(found.is_ok(), "strace is missing; `.ci/tools helpers` installs it");
    let text = format!(
        "#!/bin/sh\nexec strace -D -f --seccomp-bpf -q -xx -s 16777216 -e signal=kill -e trace={CALLS} \
         -o '{}'.$$ '{}' \"$@\"\n",
        output.display(),
        binary.canonicalize()?.display()
    );
    std::fs::write(script, text)?;
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

impl Trace {
    /// Adds the recording of one life.
    pub fn add_life(&mut self, mut text: impl BufRead) -> anyhow::Result<()> {
        self.steps.push(Step::NewLife);
        let mut open: HashMap<Vec<u8>, (usize, Vec<u8>)> = HashMap::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            if text.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_ascii_end();
            let at = line.iter().position(|byte| *byte == b' ').context("a line without a process id")?;
            let (thread, rest) = (&line[..at], line[at..].trim_ascii_start());
            if rest.starts_with(b"+++") || rest.starts_with(b"---") {
                continue;
            }
            if let Some(rest) = rest.strip_prefix(b"<... ") {
                let (number, mut whole) = open.remove(thread).context("resumed, but never begun")?;
                let from = find(rest, b" resumed>").context("no end of `resumed`")? + b" resumed>".len();
                whole.extend_from_slice(&rest[from..]);
                self.calls[number] = parse(&whole)?;
                self.steps.push(Step::End(number));
                continue;
            }
            let number = self.calls.len();
            self.steps.push(Step::Begin(number));
            if let Some(begun) = rest.strip_suffix(b"<unfinished ...>") {
                open.insert(thread.to_vec(), (number, begun.trim_ascii_end().to_vec()));
                self.calls.push(unfinished(begun)?);
            } else {
                self.calls.push(parse(rest)?);
                self.steps.push(Step::End(number));
            }
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Parses a call that never ended.
fn unfinished(text: &[u8]) -> anyhow::Result<Call> {
    let open = text.iter().position(|byte| *byte == b'(').context("no arguments")?;
    let name = String::from_utf8(text[..open].to_vec())?;
    Ok(Call { name, args: arguments(text, open + 1)?.0, result: None })
}

fn parse(text: &[u8]) -> anyhow::Result<Call> {
    let open = text.iter().position(|byte| *byte == b'(').context("no arguments")?;
    let name = String::from_utf8(text[..open].to_vec())?;
    let (args, end) = arguments(text, open + 1)?;
    let rest = String::from_utf8_lossy(&text[end..]);
    let Some((_, result)) = rest.split_once("= ") else { bail!("no result: {name} {rest}") };
    let word = result.split_whitespace().next().unwrap_or("?");
    let result = match word.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    };
    Ok(Call { name, args, result })
}

/// The arguments from `at` on, and where they end. With `-xx`, strings contain neither quotes nor commas.
fn arguments(text: &[u8], at: usize) -> anyhow::Result<(Vec<Arg>, usize)> {
    let (mut args, mut depth, mut start, mut quoted) = (Vec::new(), 0, at, false);
    let mut end = text.len();
    for (index, byte) in text.iter().enumerate().skip(at) {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' | b'[' | b'{' => depth += 1,
            b')' if depth == 0 => {
                end = index;
                break;
            }
            b')' | b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                args.push(argument(text[start..index].trim_ascii())?);
                start = index + 1;
            }
            _ => {}
        }
    }
    let last = text[start..end].trim_ascii();
    if !last.is_empty() {
        args.push(argument(last)?);
    }
    Ok((args, end))
}

fn argument(text: &[u8]) -> anyhow::Result<Arg> {
    if !text.contains(&b'"') {
        return Ok(Arg::Text(String::from_utf8_lossy(text).into_owned()));
    }
    let mut out = Vec::with_capacity(text.len() / 4);
    for quoted in text.split(|byte| *byte == b'"').skip(1).step_by(2) {
        for escape in quoted.chunks(4) {
            let &[b'\\', b'x', high, low] = escape else { bail!("a buffer is not in hexadecimal") };
            out.push(nibble(high) << 4 | nibble(low));
        }
    }
    Ok(Arg::Bytes(out))
}

impl Call {
    /// The argument as a descriptor, length or offset.
    pub fn number(&self, index: usize) -> anyhow::Result<i64> {
        let word = self.arg(index)?;
        word.parse().with_context(|| format!("{}: argument {index} is {word:.50}", self.name))
    }

    pub fn arg(&self, index: usize) -> anyhow::Result<&str> {
        match self.args.get(index) {
            Some(Arg::Text(text)) => Ok(text),
            _ => bail!("{} lacks argument {index}", self.name),
        }
    }

    pub fn bytes(&self, index: usize) -> anyhow::Result<&[u8]> {
        match self.args.get(index) {
            Some(Arg::Bytes(bytes)) => Ok(bytes),
            // An empty buffer may be written as a null pointer.
            Some(Arg::Text(text)) if text == "NULL" => Ok(&[]),
            _ => bail!("{} lacks a buffer as argument {index}", self.name),
        }
    }

    pub fn text(&self, index: usize) -> anyhow::Result<String> {
        Ok(String::from_utf8(self.bytes(index)?.to_vec())?)
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        other => other.wrapping_sub(b'a').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_overlap_are_put_together() {
        let text = br#"10 openat(AT_FDCWD, "\x2f\x61", O_RDWR|O_CREAT, 0600) = 3
10 fsync(3 <unfinished ...>
11 writev(4, [{iov_base="\x48\x49", iov_len=2}, {iov_base="\x4a", iov_len=1}], 2) = 3
11 unlink("\x2f\x61") = -1 ENOENT (No such file or directory)
10 <... fsync resumed>)              = 0
10 fcntl(3, F_GETFD)                 = 0x1 (flags FD_CLOEXEC)
12 pwrite64(5, "\xff", 1, 9 <unfinished ...>
12 +++ killed by SIGKILL +++
"#;
        let mut trace = Trace::default();
        trace.add_life(&text[..]).unwrap();
        let names: Vec<_> = trace.calls.iter().map(|call| (call.name.as_str(), call.result)).collect();
        let expected = [
            ("openat", Some(3)),
            ("fsync", Some(0)),
            ("writev", Some(3)),
            ("unlink", Some(-1)),
            ("fcntl", Some(1)),
            ("pwrite64", None),
        ];
        assert_eq!(names, expected);
        assert_eq!(trace.calls[0].text(1).unwrap(), "/a");
        assert_eq!(trace.calls[2].bytes(1).unwrap(), b"HIJ");
        assert_eq!(trace.calls[5].bytes(1).unwrap(), [255]);
        let end_of_sync = trace.steps.iter().position(|step| *step == Step::End(1)).unwrap();
        let write = trace.steps.iter().position(|step| *step == Step::Begin(2)).unwrap();
        assert!(write < end_of_sync);
    }
}
