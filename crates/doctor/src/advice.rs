// SPDX-License-Identifier: MPL-2.0
//! What the user can do about a problem.

use crate::system_info::{Failure, Node, User};
use serde::Serialize;

/// A remedy, in words and as shell commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// In words.
    pub text: String,
    /// Shell commands, to be run in this order.
    pub commands: Vec<String>,
}

impl Advice {
    /// Advice without commands.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            commands: Vec::new(),
        }
    }

    /// Advice with commands.
    pub(crate) fn with<C: Into<String>>(
        text: impl Into<String>,
        commands: impl IntoIterator<Item = C>,
    ) -> Self {
        Self {
            text: text.into(),
            commands: commands.into_iter().map(Into::into).collect(),
        }
    }
}

/// Returns how this user gets access to a node; `None` if `failure` is not a matter of permission.
pub(crate) fn access(node: &Node, user: &User, failure: &Failure) -> Option<Advice> {
    if !failure.is_permission() {
        return None;
    }
    const READ_WRITE_BY_GROUP: u32 = 0o060;
    let is_member = |id: u32| user.groups.iter().any(|group| group.id == id);
    let group = &node.group;
    let for_group = node.mode & READ_WRITE_BY_GROUP == READ_WRITE_BY_GROUP;
    if failure.errno == Some(rustix::io::Errno::PERM) || (for_group && is_member(group.id)) {
        return Some(Advice::text(format!(
            "the permissions ({}) allow access, so a container or sandbox forbids it: give the \
             container the device (--device={})",
            node.access(),
            node.path
        )));
    }
    if for_group && user.groups_after_login.contains(group) {
        return Some(Advice::with(
            format!(
                "{} joined the group {} after this session began: log out and in again, or, for \
                 one shell,",
                user.name, group.name
            ),
            [format!("newgrp {}", group.name)],
        ));
    }
    // Users should not join the group root.
    if for_group && group.id != 0 {
        return Some(Advice::with(
            format!(
                "access is limited to the group {} ({}): join it, then log in again",
                group.name,
                node.access()
            ),
            [join(&group.name, user)],
        ));
    }
    let (rule, group) = rule(&node.path);
    let mut commands = vec![
        format!("echo '{rule}' | sudo tee -a /etc/udev/rules.d/70-dmabufcpu.rules"),
        "sudo udevadm control --reload".to_owned(),
        format!("sudo udevadm trigger --name-match={}", node.path),
    ];
    if !user.groups.iter().any(|it| it.name == group) {
        commands.push(join(group, user));
    }
    Some(Advice::with(
        format!(
            "access is limited to {} ({}): a udev rule gives it to the group {group}; log in again \
             after joining it",
            node.owner,
            node.access()
        ),
        commands,
    ))
}

fn join(group: &str, user: &User) -> String {
    format!("sudo usermod -aG {group} {}", user.name)
}

/// Returns a udev rule that gives a node to a group, and the group.
fn rule(path: &str) -> (String, &'static str) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (matches, group) = if path.starts_with("/dev/dma_heap/") {
        // The name of a heap is not always udev's kernel name, so the rule covers all heaps.
        ("SUBSYSTEM==\"dma_heap\"".to_owned(), "video")
    } else if path.starts_with("/dev/dri/") {
        ("SUBSYSTEM==\"drm\"".to_owned(), "video")
    } else if path.starts_with("/dev/video") {
        ("SUBSYSTEM==\"video4linux\"".to_owned(), "video")
    } else {
        (format!("KERNEL==\"{name}\""), "kvm")
    };
    let rule = format!("{matches}, GROUP=\"{group}\", MODE=\"0660\"");
    (rule, group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system_info::Group;
    use rustix::io::Errno;

    fn group(name: &str, id: u32) -> Group {
        Group {
            name: name.to_owned(),
            id,
        }
    }

    fn node(path: &str, group: Group, mode: u32) -> Node {
        Node {
            path: path.to_owned(),
            owner: "root".to_owned(),
            group,
            mode,
        }
    }

    fn ann() -> User {
        User {
            name: "ann".to_owned(),
            id: 1000,
            groups: vec![group("ann", 1000)],
            groups_after_login: vec![],
        }
    }

    fn denied() -> Failure {
        Failure::of("opening", Errno::ACCESS)
    }

    #[test]
    fn node_of_a_group_requires_membership() {
        let camera = node("/dev/video0", group("video", 44), 0o660);
        let advice = access(&camera, &ann(), &denied()).unwrap();
        assert_eq!(advice.commands, ["sudo usermod -aG video ann"]);
        assert!(advice.text.contains("root:video 0660"), "{advice:?}");
    }

    #[test]
    fn new_member_must_log_in_again() {
        let camera = node("/dev/video0", group("video", 44), 0o660);
        let mut user = ann();
        user.groups_after_login.push(group("video", 44));
        let advice = access(&camera, &user, &denied()).unwrap();
        assert_eq!(advice.commands, ["newgrp video"]);
    }

    #[test]
    fn node_of_root_requires_a_udev_rule() {
        let heap = node("/dev/dma_heap/system", group("root", 0), 0o600);
        let advice = access(&heap, &ann(), &denied()).unwrap();
        assert_eq!(
            advice.commands,
            [
                "echo 'SUBSYSTEM==\"dma_heap\", GROUP=\"video\", MODE=\"0660\"' | sudo tee -a \
                 /etc/udev/rules.d/70-dmabufcpu.rules",
                "sudo udevadm control --reload",
                "sudo udevadm trigger --name-match=/dev/dma_heap/system",
                "sudo usermod -aG video ann",
            ]
        );
        // The group root is not joined even if it has access.
        let heap = node("/dev/udmabuf", group("root", 0), 0o660);
        let advice = access(&heap, &ann(), &denied()).unwrap();
        assert!(advice.commands[0].contains("KERNEL==\"udmabuf\""));
    }

    #[test]
    fn udev_rule_matches_the_kind_of_node() {
        for (path, matches, group) in [
            ("/dev/dri/card0", "SUBSYSTEM==\"drm\"", "video"),
            ("/dev/video0", "SUBSYSTEM==\"video4linux\"", "video"),
            ("/dev/dma_heap/reserved", "SUBSYSTEM==\"dma_heap\"", "video"),
            ("/dev/udmabuf", "KERNEL==\"udmabuf\"", "kvm"),
        ] {
            let rule = rule(path);
            let expected = format!("{matches}, GROUP=\"{group}\", MODE=\"0660\"");
            assert_eq!(rule, (expected, group), "{path}");
        }
    }

    #[test]
    fn eperm_is_attributed_to_a_sandbox() {
        let camera = node("/dev/video0", group("video", 44), 0o660);
        let forbidden = Failure::of("opening", Errno::PERM);
        let advice = access(&camera, &ann(), &forbidden).unwrap();
        assert!(advice.text.contains("--device=/dev/video0"), "{advice:?}");
        assert_eq!(advice.commands, [""; 0]);
    }

    #[test]
    fn refused_member_is_told_about_the_sandbox() {
        let camera = node("/dev/video0", group("ann", 1000), 0o660);
        let advice = access(&camera, &ann(), &denied()).unwrap();
        assert!(advice.text.contains("--device=/dev/video0"), "{advice:?}");
    }

    #[test]
    fn other_errors_give_no_advice_on_access() {
        let camera = node("/dev/video0", group("video", 44), 0o660);
        let busy = Failure::of("opening", Errno::BUSY);
        assert_eq!(access(&camera, &ann(), &busy), None);
    }
}
