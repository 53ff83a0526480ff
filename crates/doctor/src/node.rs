// SPDX-License-Identifier: MPL-2.0
//! Device nodes, their permissions and the processes that use them; the current user.

use crate::system_info::{Group, Node, User};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Returns a node's owner, group and permissions.
pub(crate) fn inspect(path: &str) -> Node {
    let path = path.to_owned();
    let Ok(data) = std::fs::metadata(&path) else {
        return Node {
            path,
            ..Default::default()
        };
    };
    Node {
        path,
        owner: user_name(data.uid()),
        group: group(data.gid()),
        mode: data.permissions().mode() & 0o7777,
    }
}

/// Returns the user's name per NSS, or the number if there is none.
fn user_name(id: u32) -> String {
    let user = uzers::get_user_by_uid(id);
    user.map_or_else(
        || id.to_string(),
        |it| it.name().to_string_lossy().into_owned(),
    )
}

/// Returns the group with its name per NSS, or with the number for a name if there is none.
fn group(id: u32) -> Group {
    let named = uzers::get_group_by_gid(id).as_ref().map(of_nss);
    named.unwrap_or_else(|| Group {
        name: id.to_string(),
        id,
    })
}

fn of_nss(group: &uzers::Group) -> Group {
    Group {
        name: group.name().to_string_lossy().into_owned(),
        id: group.gid(),
    }
}

/// Returns the effective user and its groups.
pub(crate) fn current_user() -> User {
    let id = uzers::get_effective_uid();
    let mut own = vec![uzers::get_effective_gid()];
    let supplementary = rustix::process::getgroups().unwrap_or_default();
    own.extend(supplementary.iter().map(|group| group.as_raw()));
    own.sort_unstable();
    own.dedup();
    let member_of = uzers::get_user_by_uid(id).and_then(|user| user.groups());
    User {
        name: user_name(id),
        id,
        groups_after_login: groups_after_login(&own, member_of.as_deref().unwrap_or_default()),
        groups: own.into_iter().map(group).collect(),
    }
}

/// Returns the groups that a user is a member of but whose IDs the process does not have.
fn groups_after_login(own: &[u32], member_of: &[uzers::Group]) -> Vec<Group> {
    let missing = member_of.iter().filter(|group| !own.contains(&group.gid()));
    missing.map(of_nss).collect()
}

/// Returns the other processes that have a node open, as far as this user may see them:
/// `cheese (1234)`.
pub(crate) fn users(path: &str) -> Vec<String> {
    let own = std::process::id();
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(id) = id.filter(|id: &u32| *id != own) else {
            continue;
        };
        let files = std::fs::read_dir(process.path().join("fd"));
        let is_open = files.into_iter().flatten().flatten().any(|file| {
            std::fs::read_link(file.path()).is_ok_and(|target| target == Path::new(path))
        });
        if is_open {
            let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            found.push(format!("{} ({id})", name.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What `id` of coreutils prints.
    fn id(option: &str) -> String {
        let output = Command::new("id").arg(option).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn user_and_groups_are_those_that_id_prints() {
        let user = current_user();
        assert_eq!((user.name, user.id.to_string()), (id("-un"), id("-u")));
        let numbers = id("-G");
        let mut expected: Vec<u32> = numbers.split(' ').map(|it| it.parse().unwrap()).collect();
        expected.sort_unstable();
        let groups: Vec<u32> = user.groups.iter().map(|group| group.id).collect();
        assert_eq!(groups, expected);
        let mut names: Vec<&str> = user.groups.iter().map(|it| it.name.as_str()).collect();
        let text = id("-Gn");
        let mut expected: Vec<&str> = text.split(' ').collect();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }

    #[test]
    fn groups_that_the_session_lacks_are_those_after_login() {
        let member_of = [
            uzers::Group::new(44, "video"),
            uzers::Group::new(104, "kvm"),
            uzers::Group::new(1000, "ann"),
        ];
        let expected = Group {
            name: "kvm".to_owned(),
            id: 104,
        };
        assert_eq!(groups_after_login(&[44, 1000], &member_of), [expected]);
    }

    #[test]
    fn ids_without_a_name_stay_numbers() {
        const UNUSED: u32 = 0x7654_3210;
        assert_eq!(user_name(UNUSED), UNUSED.to_string());
        assert_eq!(group(UNUSED).name, UNUSED.to_string());
    }

    #[test]
    fn node_is_inspected_as_stat_prints_it() {
        let output = Command::new("stat")
            .args(["--format=%U:%G 0%a", "/dev/null"])
            .output()
            .unwrap();
        let expected = String::from_utf8(output.stdout).unwrap();
        assert_eq!(inspect("/dev/null").access(), expected.trim());
        assert_eq!(inspect("/nonexistent").mode, 0);
    }

    #[test]
    fn users_of_a_node_are_found_except_this_process() {
        let file = std::env::temp_dir().join(format!("doctor-users-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let path = file.to_str().unwrap().to_owned();
        let _own = std::fs::File::open(&file).unwrap();
        // A child of another test has the file, too, until it runs its program.
        let is_own = |user: &String| user.ends_with(&format!(" ({})", std::process::id()));
        assert!(!users(&path).iter().any(is_own));
        let mut other = Command::new("sleep")
            .arg("100")
            .stdin(std::fs::File::open(&file).unwrap())
            .spawn()
            .unwrap();
        let found = users(&path);
        other.kill().unwrap();
        other.wait().unwrap();
        std::fs::remove_file(&file).unwrap();
        let expected = format!(" ({})", other.id());
        assert!(
            found.iter().any(|user| user.ends_with(&expected)) && !found.iter().any(is_own),
            "{found:?}"
        );
    }
}
