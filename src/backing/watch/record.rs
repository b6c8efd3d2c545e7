//! The records that `read(2)` gives of a fanotify group (`fanotify(7)`). Pure: bytes in, borrowed pieces out.
//!
//! What does not add up, the kernel has not written: it ends the record or the buffer, and nothing of it is taken.

/// `struct fanotify_event_metadata`: event_len, vers, reserved, metadata_len, mask, fd, pid.
const METADATA: usize = 24;
/// `FANOTIFY_METADATA_VERSION`
const VERSION: u8 = 3;
/// `struct fanotify_event_info_header`: info_type, pad, len.
const HEADER: usize = 4;
/// The fsid after it, and `struct file_handle`: handle_bytes, handle_type.
const HANDLE: usize = HEADER + 8 + 8;

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record<'a> {
    /// What happened (`FAN_*`), for everything that was merged into it.
    pub(super) mask: u64,
    /// The process that did it; 0 if it is not visible in the daemon's pid namespace.
    pub(super) pid: i32,
    infos: &'a [u8],
}

/// One thing that an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Info<'a> {
    /// `FAN_EVENT_INFO_TYPE_*`
    pub(super) kind: u8,
    /// The file system, as in `statfs(2)`.
    pub(super) fsid: [u32; 2],
    /// The type and the bytes of the handle.
    pub(super) handle: (i32, &'a [u8]),
    /// The name in the directory that the handle is of; empty if none was told.
    pub(super) name: &'a [u8],
}

/// The events in what was read.
#[derive(Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(super) fn of(read: &'a [u8]) -> Self {
        Self { rest: read }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = u32_at(self.rest, 0)? as usize;
        let metadata = usize::from(u16::from_ne_bytes(array(self.rest, 6)?));
        let record = self.rest.get(..length).filter(|_| metadata >= METADATA);
        let infos = record.and_then(|record| record.get(metadata..));
        let (Some(infos), Some(&VERSION)) = (infos, self.rest.get(4)) else {
            self.rest = &[];
            return None;
        };
        let record = Record {
            mask: u64::from_ne_bytes(array(self.rest, 8)?),
            pid: i32::from_ne_bytes(array(self.rest, 20)?),
            infos,
        };
        self.rest = &self.rest[length..];
        Some(record)
    }
}

impl<'a> Record<'a> {
    /// The things that it is about, those without a handle left out.
    pub(super) fn infos(&self) -> impl Iterator<Item = Info<'a>> + use<'a> {
        let mut rest = self.infos;
        std::iter::from_fn(move || {
            let length = usize::from(u16::from_ne_bytes(array(rest, 2)?));
            let info = rest.get(..length).filter(|_| length >= HEADER)?;
            rest = &rest[length..];
            Some(info)
        })
        .filter_map(parse)
    }
}

fn parse(info: &[u8]) -> Option<Info<'_>> {
    let kind = *info.first()?;
    let named = matches!(
        kind,
        libc::FAN_EVENT_INFO_TYPE_DFID_NAME
            | libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME
            | libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME
    );
    if !named
        && !matches!(
            kind,
            libc::FAN_EVENT_INFO_TYPE_FID | libc::FAN_EVENT_INFO_TYPE_DFID
        )
    {
        return None;
    }
    let bytes = u32_at(info, HEADER + 8)? as usize;
    let handle = info
        .get(HANDLE..)?
        .get(..bytes)
        .filter(|handle| !handle.is_empty())?;
    let after = &info[HANDLE + bytes..];
    let name = if named {
        // Without its NUL it was cut short.
        &after[..after.iter().position(|&byte| byte == 0)?]
    } else {
        &[]
    };
    Some(Info {
        kind,
        fsid: [u32_at(info, HEADER)?, u32_at(info, HEADER + 4)?],
        handle: (i32::from_ne_bytes(array(info, HEADER + 12)?), handle),
        name,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(array(bytes, at)?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record as the kernel writes it.
    pub(in super::super) fn record(mask: u64, pid: i32, infos: &[Vec<u8>]) -> Vec<u8> {
        let infos = infos.concat();
        let mut record = Vec::new();
        record.extend(((METADATA + infos.len()) as u32).to_ne_bytes());
        record.extend([VERSION, 0]);
        record.extend((METADATA as u16).to_ne_bytes());
        record.extend(mask.to_ne_bytes());
        record.extend(libc::FAN_NOFD.to_ne_bytes());
        record.extend(pid.to_ne_bytes());
        record.extend(infos);
        record
    }

    /// What it is about, as the kernel writes it: padded to four bytes.
    pub(in super::super) fn info(kind: u8, handle: &[u8], name: Option<&str>) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend([7_u32.to_ne_bytes(), 9_u32.to_ne_bytes()].concat());
        body.extend((handle.len() as u32).to_ne_bytes());
        body.extend(1_i32.to_ne_bytes());
        body.extend(handle);
        if let Some(name) = name {
            body.extend(name.as_bytes());
            body.push(0);
        }
        body.resize(body.len().next_multiple_of(4), 0);
        let mut info = vec![kind, 0];
        info.extend(((HEADER + body.len()) as u16).to_ne_bytes());
        info.extend(body);
        info
    }

    fn two() -> Vec<u8> {
        let create = [
            info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, b"dirhandl", Some("name")),
            info(libc::FAN_EVENT_INFO_TYPE_FID, b"filehand", None),
        ];
        let modify = [info(libc::FAN_EVENT_INFO_TYPE_FID, b"other", None)];
        [record(0x100, 11, &create), record(2, 12, &modify)].concat()
    }

    #[test]
    fn records_are_read_with_all_they_are_about() {
        let buffer = two();
        let records: Vec<_> = Records::of(&buffer).collect();
        assert_eq!(
            records
                .iter()
                .map(|record| (record.mask, record.pid))
                .collect::<Vec<_>>(),
            [(0x100, 11), (2, 12)]
        );
        let infos: Vec<_> = records[0].infos().collect();
        assert_eq!(infos[0].kind, libc::FAN_EVENT_INFO_TYPE_DFID_NAME);
        assert_eq!(
            (infos[0].handle, infos[0].name),
            ((1, &b"dirhandl"[..]), &b"name"[..])
        );
        assert_eq!(infos[0].fsid, [7, 9]);
        assert_eq!(
            (infos[1].handle, infos[1].name),
            ((1, &b"filehand"[..]), &b""[..])
        );
        assert_eq!(records[1].infos().next().unwrap().handle.1, b"other");
    }

    #[test]
    fn what_was_cut_short_gives_what_was_whole_before_it() {
        let buffer = two();
        let first = Records::of(&buffer).next().unwrap();
        let whole = METADATA + first.infos.len();
        for length in 0..buffer.len() {
            let records: Vec<_> = Records::of(&buffer[..length]).collect();
            let expected = usize::from(length >= whole);
            assert_eq!(records.len(), expected, "of {length} bytes");
        }
    }

    #[test]
    fn a_damaged_byte_anywhere_neither_panics_nor_reads_on_for_ever() {
        let buffer = two();
        for at in 0..buffer.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = buffer.clone();
                damaged[at] = value;
                let infos = Records::of(&damaged)
                    .map(|record| record.infos().count())
                    .sum::<usize>();
                assert!(infos <= buffer.len());
            }
        }
    }

    #[test]
    fn what_has_no_handle_or_no_end_of_its_name_is_left_out() {
        let none = info(libc::FAN_EVENT_INFO_TYPE_FID, b"", None);
        let unknown = info(77, b"handle", None);
        let mut endless = info(libc::FAN_EVENT_INFO_TYPE_DFID_NAME, b"dirhandl", Some("abc"));
        *endless.last_mut().unwrap() = b'd';
        let long = {
            let mut long = info(libc::FAN_EVENT_INFO_TYPE_FID, b"handle", None);
            long[HEADER + 8] = 200;
            long
        };
        let good = info(libc::FAN_EVENT_INFO_TYPE_FID, b"good", None);
        let buffer = record(2, 1, &[none, unknown, endless, long, good]);
        let record = Records::of(&buffer).next().unwrap();
        let handles: Vec<_> = record.infos().map(|info| info.handle.1).collect();
        assert_eq!(handles, [b"good"]);
    }

    #[test]
    fn another_version_of_the_kernel_s_records_is_not_guessed_at() {
        let mut buffer = two();
        buffer[4] = VERSION + 1;
        assert_eq!(Records::of(&buffer).count(), 0);
    }
}
