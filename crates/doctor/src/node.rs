// SPDX-License-Identifier: MPL-2.0
//! Device nodes and the users of them: who owns one, who has it open, who I am.

use super::machine::{Group, Node, User};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// A node's owner, group and permissions.
pub(super) fn look(path: &str) -> Node {
    let Ok(data) = std::fs::metadata(path) else {
        return Node {
            path: path.to_owned(),
            ..Default::default()
        };
    };
    let (users, groups) = (read("/etc/passwd"), read("/etc/group"));
    Node {
        path: path.to_owned(),
        owner: name_of(&users, data.uid()),
        group: Group {
            name: name_of(&groups, data.gid()),
            id: data.gid(),
        },
        mode: data.permissions().mode() & 0o7777,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The name with this number in the text of `/etc/passwd` or `/etc/group`.
fn name_of(text: &str, id: u32) -> String {
    let with_id = |line: &&str| {
        line.split(':')
            .nth(2)
            .is_some_and(|it| it.parse() == Ok(id))
    };
    let line = text.lines().find(with_id);
    let name = line.and_then(|line| line.split(':').next());
    name.map_or_else(|| id.to_string(), str::to_owned)
}

/// Who runs this.
pub(super) fn user() -> User {
    user_of(
        &read("/proc/self/status"),
        &read("/etc/passwd"),
        &read("/etc/group"),
    )
}

fn user_of(status: &str, users: &str, groups: &str) -> User {
    let numbers = |key: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let words = line.unwrap_or_default().split_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    // Real, effective, saved, of the file system: the second counts.
    let id = numbers("Uid:").get(1).copied().unwrap_or_default();
    let mut own: Vec<u32> = numbers("Gid:").get(1).copied().into_iter().collect();
    own.extend(numbers("Groups:"));
    own.sort_unstable();
    own.dedup();
    let name = name_of(users, id);
    let group = |id: u32| Group {
        name: name_of(groups, id),
        id,
    };
    let after_login = groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (group, id) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        let is_in = fields.next()?.split(',').any(|member| member == name);
        (is_in && !own.contains(&id)).then(|| Group {
            name: group.to_owned(),
            id,
        })
    });
    User {
        groups_after_login: after_login.collect(),
        groups: own.iter().map(|id| group(*id)).collect(),
        name,
        id,
    }
}

/// Other processes that have this node open, as far as this user may see: `cheese (1234)`.
pub(super) fn users(path: &str) -> Vec<String> {
    let me = std::process::id();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let number = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number: &u32| *number != me) else {
            continue;
        };
        let files = std::fs::read_dir(process.path().join("fd"));
        let has_it = files.into_iter().flatten().flatten().any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|target| target == Path::new(path))
        });
        if has_it {
            let name = read(&format!("/proc/{number}/comm"));
            found.push(format!("{} ({number})", name.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tx\nUid:\t0\t1000\t0\t0\nGid:\t104\t1000\t0\t0\n\
        Groups:\t44 1000 \n";
    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\nvideo:x:44:ann\nkvm:x:104:bob,ann\nbobs:x:105:bob,annabel\n\
        ann:x:1000:\n";

    #[test]
    fn user_and_groups_are_those_of_the_process() {
        let user = user_of(STATUS, USERS, GROUPS);
        assert_eq!((user.name.as_str(), user.id), ("ann", 1000));
        let names: Vec<&str> = user
            .groups
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        assert_eq!(names, ["video", "ann"]);
    }

    #[test]
    fn groups_that_the_session_is_not_in_yet_are_told() {
        let user = user_of(STATUS, USERS, GROUPS);
        let expected = Group {
            name: "kvm".to_owned(),
            id: 104,
        };
        assert_eq!(user.groups_after_login, [expected]);
    }

    #[test]
    fn numbers_without_a_name_stay_numbers() {
        assert_eq!(name_of(USERS, 7), "7");
        assert_eq!(user_of("Uid:\t7\t7\t7\t7\n", USERS, GROUPS).name, "7");
    }

    #[test]
    fn who_has_a_node_open_is_found_but_not_oneself() {
        let folder = std::env::temp_dir().join(format!("doctor-users-{}", std::process::id()));
        std::fs::write(&folder, "").unwrap();
        let path = folder.to_str().unwrap().to_owned();
        let _own = std::fs::File::open(&folder).unwrap();
        assert_eq!(users(&path), [""; 0]);
        let mut other = std::process::Command::new("sleep")
            .arg("100")
            .stdin(std::fs::File::open(&folder).unwrap())
            .spawn()
            .unwrap();
        let found = users(&path);
        other.kill().unwrap();
        other.wait().unwrap();
        std::fs::remove_file(&folder).unwrap();
        let expected = format!(" ({})", other.id());
        assert!(
            found.len() == 1 && found[0].ends_with(&expected),
            "{found:?}"
        );
    }
}
