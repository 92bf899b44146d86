//! The system call filter: what Docker's default profile allows to programs with the default
//! capabilities is allowed here, everything else is not permitted. Numbers that are newer than
//! the profile are unknown to programs inside, so that they fall back to older ones.

use std::io;

use crate::calls;
use crate::sys::{self, FilterInstruction};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ABOVE: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Where the kernel puts the number, the architecture and the first argument.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const FIRST_ARGUMENT_OFFSET: u32 = 16;
/// The namespaces that `clone` could make.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
/// The families of sockets that the profile allows: it leaves out those that no container needs and
/// that had holes, AF_ALG and AF_VSOCK among them.
const FAMILIES: &[(u32, u32)] =
    &[(0, 11), (13, 18), (21, 22), (24, 24), (26, 33), (35, 36), (39, 39), (41, 45)];
/// The ways of running that `personality` may ask for: Linux and 32-bit Linux, with or without
/// names of old kernels, and the question which one it is.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, u32::MAX];
/// The newest number that the profile knows.
const NEWEST: u32 = 466;

/// How a program makes system calls.
struct Interface {
    architecture: u32,
    allowed: &'static [(u32, u32)],
    clone: u32,
    clone3: u32,
    socket: u32,
    personality: u32,
}

#[cfg(target_arch = "x86_64")]
const INTERFACES: [Interface; 2] = [
    Interface {
        architecture: 0xc000_003e,
        allowed: calls::X86_64,
        clone: 56,
        clone3: 435,
        socket: 41,
        personality: 135,
    },
    // 32-bit programs run under Docker too.
    Interface {
        architecture: 0x4000_0003,
        allowed: calls::X86,
        clone: 120,
        clone3: 435,
        socket: 359,
        personality: 136,
    },
];

#[cfg(target_arch = "aarch64")]
const INTERFACES: [Interface; 1] = [Interface {
    architecture: 0xc000_00b7,
    allowed: calls::AARCH64,
    clone: 220,
    clone3: 435,
    socket: 198,
    personality: 92,
}];

/// Installs the filter for this process and what it becomes.
pub(crate) fn install() -> io::Result<()> {
    sys::set_filter(&program())
}

fn load(offset: u32) -> FilterInstruction {
    FilterInstruction { code: LOAD, if_true: 0, if_false: 0, value: offset }
}

fn test(code: u16, value: u32, if_true: u8, if_false: u8) -> FilterInstruction {
    FilterInstruction { code, if_true, if_false, value }
}

fn result(value: u32) -> FilterInstruction {
    FilterInstruction { code: RETURN, if_true: 0, if_false: 0, value }
}

/// Jumps reach 255 instructions, a part for an interface may be longer: each begins with a test
/// that goes on to a long jump.
fn program() -> Vec<FilterInstruction> {
    const JUMP: u16 = 0x05;
    let mut program = vec![load(ARCHITECTURE_OFFSET)];
    for interface in &INTERFACES {
        let part = part(interface);
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        program.push(test(JUMP_IF_EQUAL, interface.architecture, 1, 0));
        program.push(FilterInstruction { code: JUMP, if_true: 0, if_false: 0, value: length });
        program.extend(part);
    }
    program.push(result(KILL));
    program
}

/// Returns what is done with the calls of an interface. Every path through it returns.
fn part(interface: &Interface) -> Vec<FilterInstruction> {
    let refuse = result(ERRNO | EPERM);
    let mut part = vec![
        load(NUMBER_OFFSET),
        // Above are those of the x32 interface as well, which have a bit of their own.
        test(JUMP_IF_ABOVE, NEWEST, 0, 1),
        result(ERRNO | ENOSYS),
        // The C library falls back from clone3, whose flags a filter cannot see, to clone.
        test(JUMP_IF_EQUAL, interface.clone3, 0, 1),
        result(ERRNO | ENOSYS),
        test(JUMP_IF_EQUAL, interface.clone, 0, 4),
        load(FIRST_ARGUMENT_OFFSET),
        test(JUMP_IF_ANY_BIT, NAMESPACE_FLAGS, 0, 1),
        refuse,
        result(ALLOW),
        test(JUMP_IF_EQUAL, interface.socket, 0, 2 + 4 * FAMILIES.len() as u8),
        load(FIRST_ARGUMENT_OFFSET),
    ];
    allow_ranges(&mut part, FAMILIES);
    part.extend([
        test(JUMP_IF_EQUAL, interface.personality, 0, 2 + 2 * PERSONALITIES.len() as u8),
        load(FIRST_ARGUMENT_OFFSET),
    ]);
    for personality in PERSONALITIES {
        part.push(test(JUMP_IF_EQUAL, personality, 0, 1));
        part.push(result(ALLOW));
    }
    part.push(refuse);
    allow_ranges(&mut part, interface.allowed);
    part
}

/// Allows what is loaded when it is in one of the ranges, which are in order, and refuses all else.
fn allow_ranges(part: &mut Vec<FilterInstruction>, ranges: &[(u32, u32)]) {
    let refuse = result(ERRNO | EPERM);
    for &(first, last) in ranges {
        // Below the first of a range, and so above the last of the one before, nothing is allowed.
        part.push(test(JUMP_IF_AT_LEAST, first, 1, 0));
        part.push(refuse);
        part.push(test(JUMP_IF_ABOVE, last, 1, 0));
        part.push(result(ALLOW));
    }
    part.push(refuse);
}
