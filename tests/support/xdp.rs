//! An object file with the smallest XDP program, for `ip link set dev IF xdpgeneric object FILE section xdp`.

/// `r0 = XDP_DROP; exit` (linux/bpf.h).
const PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const LICENSE: [u8; 8] = *b"GPL\0\0\0\0\0";
/// The symbol's name, then those of the sections.
const NAMES: &[u8; 40] = b"\0drop\0xdp\0license\0.symtab\0.strtab\0\0\0\0\0\0\0";

/// A relocatable file of machine BPF (ELF-64 object file format, version 1.5) whose section `xdp` drops every frame.
pub fn dropping() -> Vec<u8> {
    let header = |kind: u16, machine: u16, sections: u64| {
        let halves = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let identification = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (begin, end) = (halves(&[kind, machine]), halves(&[64, 0, 0, 64, 5, 4]));
        [&identification[..], &begin, &[1, 0, 0, 0], &[0; 16], &sections.to_le_bytes(), &[0; 4], &end]
            .concat()
    };
    // A global function in section 1.
    let symbol = [[1, 0, 0, 0, 0x12, 0, 1, 0], [0; 8], [16, 0, 0, 0, 0, 0, 0, 0]].concat();
    let symbols = [vec![0; 24], symbol].concat();
    let body = [&PROGRAM[..], &LICENSE, &symbols, NAMES].concat();
    // Name, type, flags, where, how long, link, info, alignment, size of an entry.
    let sections: [[u64; 9]; 5] = [
        [0; 9],
        [6, 1, 6, 64, 16, 0, 0, 8, 0],
        [10, 1, 3, 80, 4, 0, 0, 1, 0],
        [18, 2, 0, 88, 48, 4, 1, 8, 24],
        [26, 3, 0, 136, 40, 0, 0, 1, 0],
    ];
    let table = sections.iter().flat_map(|[name, kind, flags, offset, size, link, info, align, entry]| {
        let word = |value: &u64| (*value as u32).to_le_bytes().to_vec();
        let long = |value: &u64| value.to_le_bytes().to_vec();
        let parts = [
            word(name),
            word(kind),
            long(flags),
            long(&0),
            long(offset),
            long(size),
            word(link),
            word(info),
            long(align),
            long(entry),
        ];
        parts.concat()
    });
    [header(1, 247, 64 + body.len() as u64), body, table.collect()].concat()
}
