//! The system call filter: what Docker's default profile refuses to programs without the
//! capabilities that it takes away is refused here, as if it was not permitted.

use std::io;

use crate::sys::{self, FilterInstruction};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where the kernel puts the number, the architecture and the first argument.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const FIRST_ARGUMENT_OFFSET: u32 = 16;
/// The namespaces that `clone` could make.
const NAMESPACE_FLAGS: u32 = 0x7e02_0080;

#[cfg(target_arch = "x86_64")]
mod machine {
    pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
    pub(super) const CLONE: u32 = 56;
    pub(super) const REFUSED: &[u32] = &[
        // acct, add_key, adjtimex is left to its capability, bpf, clock_settime, create_module,
        163, 248, 321, 227, 174,
        // delete_module, finit_module, get_kernel_syms, init_module, io_uring_*
        176, 313, 177, 175, 425, 426, 427,
        // ioperm, iopl, kcmp, kexec_file_load, kexec_load, keyctl, lookup_dcookie
        173, 172, 312, 320, 246, 250, 212,
        // mount, move_pages, move_mount, name_to_handle_at, nfsservctl, open_by_handle_at, open_tree
        165, 279, 429, 303, 180, 304, 428,
        // fsopen, fsconfig, fsmount, fspick, mount_setattr, perf_event_open, pivot_root
        430, 431, 432, 433, 442, 298, 155,
        // process_vm_readv and _writev, query_module, quotactl, reboot, request_key, setns
        310, 311, 178, 179, 169, 249, 308,
        // settimeofday, swapoff, swapon, sysfs, _sysctl, umount2, unshare, uselib, userfaultfd,
        164, 168, 167, 139, 156, 166, 272, 134, 323,
        // ustat, vhangup, setdomainname, sethostname, syslog, fanotify_init, quotactl_fd
        136, 153, 171, 170, 103, 300, 443,
    ];
    pub(super) const CLONE3: u32 = 435;
}

#[cfg(target_arch = "aarch64")]
mod machine {
    pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;
    pub(super) const CLONE: u32 = 220;
    pub(super) const REFUSED: &[u32] = &[
        89, 217, 280, 112, 106, 273, 105, 425, 426, 427, 272, 294, 104, 219, 18, 40, 239, 429, 264,
        42, 265, 428, 430, 431, 432, 433, 442, 241, 41, 270, 271, 60, 142, 218, 268, 170, 225, 224,
        39, 97, 282, 58, 162, 161, 116, 262, 443,
    ];
    pub(super) const CLONE3: u32 = 435;
}

/// Installs the filter for this process and what it becomes.
pub(crate) fn install() -> io::Result<()> {
    sys::set_filter(&program())
}

fn program() -> Vec<FilterInstruction> {
    let load = |offset| FilterInstruction { code: LOAD, if_true: 0, if_false: 0, value: offset };
    let test = |code, value, if_true, if_false| FilterInstruction { code, if_true, if_false, value };
    let result = |value| FilterInstruction { code: RETURN, if_true: 0, if_false: 0, value };
    let mut program = vec![
        load(ARCHITECTURE_OFFSET),
        test(JUMP_IF_EQUAL, machine::ARCHITECTURE, 1, 0),
        result(KILL),
        load(NUMBER_OFFSET),
        // Calls of the x32 interface have a bit of their own.
        test(JUMP_IF_AT_LEAST, 0x4000_0000, 0, 1),
        result(ERRNO | ENOSYS),
        // The C library falls back from clone3, whose flags a filter cannot see, to clone.
        test(JUMP_IF_EQUAL, machine::CLONE3, 0, 1),
        result(ERRNO | ENOSYS),
        test(JUMP_IF_EQUAL, machine::CLONE, 0, 4),
        load(FIRST_ARGUMENT_OFFSET),
        test(JUMP_IF_ANY_BIT, NAMESPACE_FLAGS, 0, 1),
        result(ERRNO | EPERM),
        result(ALLOW),
    ];
    for number in machine::REFUSED {
        program.push(test(JUMP_IF_EQUAL, *number, 0, 1));
        program.push(result(ERRNO | EPERM));
    }
    program.push(result(ALLOW));
    program
}
