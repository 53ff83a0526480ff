// SPDX-License-Identifier: MPL-2.0
//! Parses messages of the debug category `GST_PERFORMANCE` that report copies.

use serde::{Serialize, Serializer};

/// The kind of copy that a message reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CopyReason {
    /// `frame copy`: kmssink could not import a frame.
    FrameCopy,
    /// `slow copy`: v4l2 elements, ximagesink, xvimagesink.
    SlowCopy,
    /// `memcpy … memory`: `gst_memory_copy`, for deep copies and for writes to shared memory.
    MemoryCopy,
    /// `… for merge …`: several memories of a buffer mapped as one.
    Merge,
    /// `copy plane …`: `gst_video_frame_copy`.
    Plane,
    /// Any other message that reports a copy.
    Other,
}

impl CopyReason {
    pub(super) const ALL: [Self; 6] = [
        Self::FrameCopy,
        Self::SlowCopy,
        Self::MemoryCopy,
        Self::Merge,
        Self::Plane,
        Self::Other,
    ];

    /// Returns the name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FrameCopy => "frame copy",
            Self::SlowCopy => "slow copy",
            Self::MemoryCopy => "memcpy of a memory",
            Self::Merge => "merge of memories",
            Self::Plane => "copy of a plane",
            Self::Other => "copy",
        }
    }
}

/// Number of messages by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReasonCounts([u64; CopyReason::ALL.len()]);

impl ReasonCounts {
    pub(super) fn count(&mut self, reason: CopyReason) {
        self.0[reason as usize] += 1;
    }

    pub(super) fn of(&self, reason: CopyReason) -> u64 {
        self.0[reason as usize]
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum += count;
        }
    }

    /// Iterates over the reasons that occurred, with their counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (CopyReason, u64)> {
        let all = CopyReason::ALL.into_iter().zip(self.0);
        all.filter(|(_, count)| *count > 0)
    }

    /// Whether a complete frame was copied.
    pub(super) fn have_frame_copy(&self) -> bool {
        self.of(CopyReason::FrameCopy) + self.of(CopyReason::SlowCopy) + self.of(CopyReason::Other)
            > 0
    }

    /// Whether a source copied data that it had received from a device or a stream, rather than
    /// copying to draw a frame.
    pub(super) fn have_source_copy(&self) -> bool {
        self.of(CopyReason::SlowCopy) + self.of(CopyReason::MemoryCopy) + self.of(CopyReason::Merge)
            > 0
    }
}

impl Serialize for ReasonCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(reason, count)| (reason.name(), count)))
    }
}

/// Returns the reason and the number of bytes if the message reports a copy of frame data. Knows
/// the texts of GStreamer 1.22 to 1.28.
pub(super) fn parse(message: &str) -> Option<(CopyReason, u64)> {
    let numbers = || {
        message
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse::<u64>().ok())
    };
    // gst_video_frame_copy_plane (video-frame.c): "copy plane 0, w:4096 h:768", w in bytes.
    if let Some(rest) = message.strip_prefix("copy plane ") {
        let field = |name: &str| -> Option<u64> {
            let (_, rest) = rest.split_once(name)?;
            let end = rest.find(|c: char| !c.is_ascii_digit());
            rest[..end.unwrap_or(rest.len())].parse().ok()
        };
        let bytes = field("w:")?.saturating_mul(field("h:")?);
        return Some((CopyReason::Plane, bytes));
    }
    if message.starts_with("memcpy ") {
        // gst_buffer.c: "memcpy 42 bytes for merge 0x… from memory 0x…";
        // gstallocator.c: "memcpy 42 memory 0x… -> 0x…".
        let reason = if message.contains(" for merge ") {
            CopyReason::Merge
        } else {
            CopyReason::MemoryCopy
        };
        return Some((reason, numbers().next()?));
    }
    // gstkmssink.c. The bytes are reported with the planes.
    if message == "frame copy" {
        return Some((CopyReason::FrameCopy, 0));
    }
    // gstv4l2bufferpool.c, ximagesink.c, xvimagesink.c. The bytes are reported with the planes.
    if message.starts_with("slow copy") {
        return Some((CopyReason::SlowCopy, 0));
    }
    // gstadapter.c: "copy remaining 42 bytes from adapter".
    if let Some(rest) = message.strip_prefix("copy remaining ") {
        let bytes = rest.split(' ').next().and_then(|word| word.parse().ok());
        return Some((CopyReason::Other, bytes?));
    }
    // gstbasesrc.c, gstvaapipluginbase.c, gstmpeg2dec.c. Excluded: "doing copy" and "copy …
    // miniobject" (caps, structures; buffers, whose memory is shared), "copy for merge", after
    // which gst_memory_copy reports the bytes, and copies by decoders and encoders of their input.
    const OTHERS: [&str; 3] = [
        "fill the provided buffer, copying",
        "copying VA buffer",
        "Copying input buffer",
    ];
    let is_other = OTHERS.iter().any(|other| message.starts_with(other));
    is_other.then_some((CopyReason::Other, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_copies_are_parsed() {
        for (line, expected) in [
            (
                "copy plane 0, w:4096 h:768 ",
                Some((CopyReason::Plane, 3145728)),
            ),
            (
                "memcpy 3145728 memory 0x7f11 -> 0x7f22",
                Some((CopyReason::MemoryCopy, 3145728)),
            ),
            (
                "memcpy 460800 bytes for merge 0x7f from memory 0x80",
                Some((CopyReason::Merge, 460800)),
            ),
            ("frame copy", Some((CopyReason::FrameCopy, 0))),
            ("slow copy into buffer 0x1", Some((CopyReason::SlowCopy, 0))),
            (
                "slow copy into bufferpool buffer 0x1",
                Some((CopyReason::SlowCopy, 0)),
            ),
            (
                "copying VA buffer to system memory buffer",
                Some((CopyReason::Other, 0)),
            ),
            (
                "copy remaining 42 bytes from adapter",
                Some((CopyReason::Other, 42)),
            ),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn other_messages_are_ignored() {
        for line in [
            "allocating private data GstMemory miniobject 0x1",
            "copy GstCaps miniobject 0x1 -> 0x2",
            "copy GstBuffer miniobject 0x1 -> 0x2",
            "copy for merge 0x1",
            "doing video scaling",
            "temporary mapping for memory 0x1 in buffer 0x2",
            "copy plane of glass",
            "doing copy 0x1 -> 0x2",
            "Copy input to add padding",
            "",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
