// SPDX-License-Identifier: MPL-2.0
//! Whether a Wayland desktop answers, and which dma-bufs it takes: the few first messages of the
//! protocol (<https://wayland.freedesktop.org/docs/html/>, "Wire Format"; `linux-dmabuf-v1.xml`
//! in wayland-protocols), without its library.

use super::machine::{Failure, Outcome, Wayland};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(3);
/// Numbers of objects: the display has the first, we give the others.
const DISPLAY: u32 = 1;
const REGISTRY: u32 = 2;
const LISTED: u32 = 3;
const DMABUF: u32 = 4;
const TOLD: u32 = 5;
/// What takes dma-bufs; its version 4 and later tells formats in another way, unless asked for
/// version 3.
const LINUX_DMABUF: &[u8] = b"zwp_linux_dmabuf_v1\0";
const VERSION: u32 = 3;

/// The desktop that waylandsink would use.
pub(super) fn examine() -> Option<Wayland> {
    let named = std::env::var_os("WAYLAND_DISPLAY").filter(|name| !name.is_empty());
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let name = named.clone().unwrap_or_else(|| "wayland-0".into());
    // An absolute name is taken as it is.
    let socket = folder.unwrap_or_default().join(name);
    // Without being told, a desktop is looked for at the usual place only (wl_display_connect).
    if named.is_none() && !socket.exists() {
        return None;
    }
    Some(Wayland {
        formats: ask(&socket),
        socket: socket.display().to_string(),
    })
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure {
        text: format!("{what}: {error}"),
        errno: error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error),
    }
}

fn ask(socket: &Path) -> Outcome<Vec<(u32, u64)>> {
    let mut stream = UnixStream::connect(socket).map_err(failed("connecting"))?;
    for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
        set(&stream, Some(LIMIT)).map_err(failed("setting a time limit"))?;
    }
    // wl_display.get_registry, then wl_display.sync: when that is answered, all was told.
    send(&mut stream, DISPLAY, 1, &REGISTRY.to_ne_bytes())?;
    send(&mut stream, DISPLAY, 0, &LISTED.to_ne_bytes())?;
    let mut global = None;
    listen(&mut stream, LISTED, |object, event, body| {
        if (object, event) == (REGISTRY, 0) {
            global = linux_dmabuf(body).or(global);
        }
    })?;
    let Some((name, version)) = global else {
        return Ok(Vec::new());
    };
    // wl_registry.bind: the number, the interface as text, its version, ours.
    let mut bind = name.to_ne_bytes().to_vec();
    bind.extend((LINUX_DMABUF.len() as u32).to_ne_bytes());
    bind.extend(LINUX_DMABUF);
    bind.extend(version.min(VERSION).to_ne_bytes());
    bind.extend(DMABUF.to_ne_bytes());
    send(&mut stream, REGISTRY, 0, &bind)?;
    send(&mut stream, DISPLAY, 0, &TOLD.to_ne_bytes())?;
    let mut formats = Vec::new();
    listen(&mut stream, TOLD, |object, event, body| {
        let modifier = match (object, event) {
            // Without modifiers: linear ones were always meant, too.
            (DMABUF, 0) => 0,
            (DMABUF, 1) => u64::from(word(body, 4)) << 32 | u64::from(word(body, 8)),
            _ => return,
        };
        formats.push((word(body, 0), modifier));
    })?;
    formats.sort_unstable();
    formats.dedup();
    Ok(formats)
}

fn send(stream: &mut UnixStream, object: u32, request: u32, body: &[u8]) -> Outcome {
    let size = (8 + body.len()) as u32;
    let mut message = object.to_ne_bytes().to_vec();
    message.extend((size << 16 | request).to_ne_bytes());
    message.extend(body);
    stream.write_all(&message).map_err(failed("asking"))
}

/// Hears events until the callback `last` is called.
fn listen(stream: &mut UnixStream, last: u32, mut heard: impl FnMut(u32, u32, &[u8])) -> Outcome {
    loop {
        let mut header = [0; 8];
        let lost = failed("waiting for its answer");
        stream.read_exact(&mut header).map_err(&lost)?;
        let (object, size) = (word(&header, 0), word(&header, 4) >> 16);
        let mut body = vec![0; (size as usize).saturating_sub(header.len())];
        stream.read_exact(&mut body).map_err(&lost)?;
        match (object, word(&header, 4) & 0xffff) {
            (DISPLAY, 0) => return Err(Failure::other("it refused what it was asked")),
            (object, 0) if object == last => return Ok(()),
            (object, event) => heard(object, event, &body),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|it| it.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

/// Number and version in an event that tells of the dma-buf interface: the number, the interface
/// as text behind its length, the version.
fn linux_dmabuf(body: &[u8]) -> Option<(u32, u32)> {
    let length = word(body, 4) as usize;
    let name = body.get(8..8_usize.checked_add(length)?)?;
    (name == LINUX_DMABUF).then(|| (word(body, 0), word(body, 8 + length.next_multiple_of(4))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    const NV12: u32 = u32::from_le_bytes(*b"NV12");

    /// A desktop that has these interfaces, and, if it has that of dma-bufs, tells of one format.
    fn answer_of(
        test: &str,
        interfaces: &'static [(&str, u32)],
        syncs: usize,
    ) -> Outcome<Vec<(u32, u64)>> {
        let path = std::env::temp_dir().join(format!("doctor-{test}-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let desktop = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut left = syncs;
            while left > 0 {
                let mut header = [0; 8];
                if stream.read_exact(&mut header).is_err() {
                    break;
                }
                let mut body = vec![0; (word(&header, 4) >> 16) as usize - 8];
                stream.read_exact(&mut body).unwrap();
                match (word(&header, 0), word(&header, 4) & 0xffff) {
                    (1, 1) => {
                        for (number, (interface, version)) in interfaces.iter().enumerate() {
                            let mut text = interface.as_bytes().to_vec();
                            text.push(0);
                            let length = text.len() as u32;
                            text.resize(text.len().next_multiple_of(4), 0);
                            let mut event = (number as u32).to_ne_bytes().to_vec();
                            event.extend(length.to_ne_bytes());
                            event.extend(text);
                            event.extend(version.to_ne_bytes());
                            send(&mut stream, word(&body, 0), 0, &event).unwrap();
                        }
                    }
                    (1, 0) => {
                        left -= 1;
                        send(&mut stream, word(&body, 0), 0, &[0; 4]).unwrap();
                    }
                    (2, 0) => {
                        assert_eq!(&body[8..28], b"zwp_linux_dmabuf_v1\0");
                        assert_eq!(word(&body, 28), 3, "version");
                        let words = [NV12, 0x0100_0000, 2];
                        let event: Vec<u8> = words.iter().flat_map(|it| it.to_ne_bytes()).collect();
                        send(&mut stream, word(&body, 32), 1, &event).unwrap();
                    }
                    other => panic!("asked {other:?}"),
                }
            }
        });
        let answer = ask(&path);
        desktop.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        answer
    }

    #[test]
    fn desktop_that_takes_dma_bufs_tells_which() {
        let interfaces = &[
            ("wl_compositor", 5),
            ("zwp_linux_dmabuf_v1", 4),
            ("wl_shm", 1),
        ];
        let formats = answer_of("takes", interfaces, 2);
        assert_eq!(formats, Ok(vec![(NV12, 0x0100_0000_0000_0002)]));
    }

    #[test]
    fn desktop_that_takes_none_is_told_from_one_that_does() {
        let interfaces = &[("wl_compositor", 5), ("zwp_linux_dmabuf_v1x", 4)];
        assert_eq!(answer_of("takes-none", interfaces, 1), Ok(Vec::new()));
    }

    #[test]
    fn desktop_that_goes_away_is_a_failure() {
        let failure = answer_of("goes", &[("wl_compositor", 5)], 0).unwrap_err();
        assert!(
            failure.text.contains("waiting for its answer") || failure.text.contains("asking"),
            "{failure:?}"
        );
    }

    #[test]
    fn socket_without_a_desktop_is_a_failure() {
        let failure = ask(Path::new("/nonexistent/wayland-0")).unwrap_err();
        assert_eq!(failure.errno, Some(rustix::io::Errno::NOENT));
    }
}
