// SPDX-License-Identifier: MPL-2.0
//! Whether a Wayland compositor responds, and which dma-bufs it imports: the first messages of the
//! protocol (<https://wayland.freedesktop.org/docs/html/>, "Wire Format"; `linux-dmabuf-v1.xml`
//! in wayland-protocols). The library would bring about eight crates for this one query.

use crate::system_info::{Failure, Outcome, Wayland};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(3);
/// Object IDs: the display is 1, the client assigns the others.
const DISPLAY: u32 = 1;
const REGISTRY: u32 = 2;
const REGISTRY_SYNC: u32 = 3;
const DMABUF: u32 = 4;
const DMABUF_SYNC: u32 = 5;
/// The interface that imports dma-bufs. From version 4 on it announces formats in another way, so
/// version 3 is bound.
const LINUX_DMABUF: &[u8] = b"zwp_linux_dmabuf_v1\0";
const VERSION: u32 = 3;

/// Examines the compositor that waylandsink would use.
pub(crate) fn examine() -> Option<Wayland> {
    let named = std::env::var_os("WAYLAND_DISPLAY").filter(|name| !name.is_empty());
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let name = named.clone().unwrap_or_else(|| "wayland-0".into());
    // An absolute name replaces the folder.
    let socket = folder.unwrap_or_default().join(name);
    // Without a name, only the default socket is tried (wl_display_connect).
    if named.is_none() && !socket.exists() {
        return None;
    }
    Some(Wayland {
        formats: query(&socket),
        socket: socket.display().to_string(),
    })
}

fn failed(operation: &'static str) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::io(operation, &error)
}

fn query(socket: &Path) -> Outcome<Vec<(u32, u64)>> {
    let mut stream = UnixStream::connect(socket).map_err(failed("connecting"))?;
    for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
        set(&stream, Some(LIMIT)).map_err(failed("setting a time limit"))?;
    }
    // wl_display.get_registry, then wl_display.sync: its callback follows all announcements.
    send(&mut stream, DISPLAY, 1, &REGISTRY.to_ne_bytes())?;
    send(&mut stream, DISPLAY, 0, &REGISTRY_SYNC.to_ne_bytes())?;
    let mut global = None;
    receive(&mut stream, REGISTRY_SYNC, |object, event, body| {
        if (object, event) == (REGISTRY, 0) {
            global = linux_dmabuf(body).or(global);
        }
    })?;
    let Some((name, version)) = global else {
        return Ok(Vec::new());
    };
    // wl_registry.bind: name, interface as text, version, new object ID.
    let mut bind = name.to_ne_bytes().to_vec();
    bind.extend((LINUX_DMABUF.len() as u32).to_ne_bytes());
    bind.extend(LINUX_DMABUF);
    bind.extend(version.min(VERSION).to_ne_bytes());
    bind.extend(DMABUF.to_ne_bytes());
    send(&mut stream, REGISTRY, 0, &bind)?;
    send(&mut stream, DISPLAY, 0, &DMABUF_SYNC.to_ne_bytes())?;
    let mut formats = Vec::new();
    receive(&mut stream, DMABUF_SYNC, |object, event, body| {
        let modifier = match (object, event) {
            // The event without modifiers includes linear buffers.
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
    stream
        .write_all(&message)
        .map_err(failed("sending a request"))
}

/// Receives events until the callback `last` is called.
fn receive(stream: &mut UnixStream, last: u32, mut handle: impl FnMut(u32, u32, &[u8])) -> Outcome {
    loop {
        let mut header = [0; 8];
        let lost = failed("waiting for a response");
        stream.read_exact(&mut header).map_err(&lost)?;
        let (object, size) = (word(&header, 0), word(&header, 4) >> 16);
        let mut body = vec![0; (size as usize).saturating_sub(header.len())];
        stream.read_exact(&mut body).map_err(&lost)?;
        match (object, word(&header, 4) & 0xffff) {
            (DISPLAY, 0) => return Err(Failure::other("it reported a protocol error")),
            (object, 0) if object == last => return Ok(()),
            (object, event) => handle(object, event, &body),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|it| it.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

/// Returns name and version from a global event if it announces the dma-buf interface. The event
/// is: name, interface as length and text, version.
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

    /// Queries a compositor that has these interfaces, and announces one dma-buf format.
    fn response_of(
        test: &str,
        interfaces: &'static [(&str, u32)],
        syncs: usize,
    ) -> Outcome<Vec<(u32, u64)>> {
        let path = std::env::temp_dir().join(format!("doctor-{test}-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let compositor = std::thread::spawn(move || {
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
                    other => panic!("request {other:?}"),
                }
            }
        });
        let response = query(&path);
        compositor.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        response
    }

    #[test]
    fn compositor_that_imports_dma_bufs_lists_formats() {
        let interfaces = &[
            ("wl_compositor", 5),
            ("zwp_linux_dmabuf_v1", 4),
            ("wl_shm", 1),
        ];
        let formats = response_of("imports", interfaces, 2);
        assert_eq!(formats, Ok(vec![(NV12, 0x0100_0000_0000_0002)]));
    }

    #[test]
    fn compositor_without_the_interface_imports_none() {
        let interfaces = &[("wl_compositor", 5), ("zwp_linux_dmabuf_v1x", 4)];
        assert_eq!(response_of("imports-none", interfaces, 1), Ok(Vec::new()));
    }

    #[test]
    fn compositor_that_disconnects_is_a_failure() {
        let failure = response_of("goes", &[("wl_compositor", 5)], 0).unwrap_err();
        assert!(
            failure.text.contains("waiting for a response") || failure.text.contains("sending"),
            "{failure:?}"
        );
    }

    #[test]
    fn socket_without_a_compositor_is_a_failure() {
        let failure = query(Path::new("/nonexistent/wayland-0")).unwrap_err();
        assert_eq!(failure.errno, Some(rustix::io::Errno::NOENT));
    }
}
