//! `bit32` as Lua 5.2's manual, section 6.7, has it.

use crate::printed;

/// An expression and what it is.
const CASES: &[(&str, &str)] = &[
    ("bit32.band()", "4294967295"),
    (
        "bit32.band(0xF0F0F0F0, 0xFF00FF00, 0xFFFF0000)",
        "4026531840",
    ),
    ("bit32.band(-1)", "4294967295"),
    ("bit32.band(2^32 + 5, -1)", "5"),
    ("bit32.bor()", "0"),
    ("bit32.bor(0x80000000, 1)", "2147483649"),
    ("bit32.bor(1, 2, 4, 8)", "15"),
    ("bit32.bxor()", "0"),
    ("bit32.bxor(0xFFFFFFFF, 1)", "4294967294"),
    ("bit32.bxor(1, 1, 1)", "1"),
    ("bit32.bnot(0)", "4294967295"),
    ("bit32.bnot(0xFFFFFFFF)", "0"),
    ("bit32.bnot(5) == (-1 - 5) % 2^32", "true"),
    ("bit32.btest()", "true"),
    ("bit32.btest(0)", "false"),
    ("bit32.btest(6, 1)", "false"),
    ("bit32.btest(6, 3, 2)", "true"),
    ("bit32.lshift(1, 31)", "2147483648"),
    ("bit32.lshift(1, 32)", "0"),
    ("bit32.lshift(0xFF, -4)", "15"),
    ("bit32.lshift(0x87654321, 4)", "1985229328"),
    ("bit32.rshift(0x80000000, 31)", "1"),
    ("bit32.rshift(0xFFFFFFFF, 32)", "0"),
    ("bit32.rshift(1, -31)", "2147483648"),
    ("bit32.rshift(-1, 0)", "4294967295"),
    ("bit32.arshift(0x80000000, 4)", "4160749568"),
    ("bit32.arshift(0x80000000, 31)", "4294967295"),
    ("bit32.arshift(0x80000000, 40)", "4294967295"),
    ("bit32.arshift(0x7FFFFFFF, 40)", "0"),
    ("bit32.arshift(0x40000000, 4)", "67108864"),
    ("bit32.arshift(1, -4)", "16"),
    ("bit32.lrotate(0x80000001, 1)", "3"),
    ("bit32.lrotate(0x12345678, 36)", "591751041"),
    ("bit32.lrotate(1, -1)", "2147483648"),
    ("bit32.rrotate(1, 1)", "2147483648"),
    ("bit32.rrotate(0x12345678, 4)", "2166572391"),
    ("bit32.rrotate(1, -1)", "2"),
    ("bit32.extract(0x12345678, 8, 8)", "86"),
    ("bit32.extract(0xFFFFFFFF, 0, 32)", "4294967295"),
    ("bit32.extract(0x80000000, 31)", "1"),
    ("bit32.replace(0, 0xFF, 4, 4)", "240"),
    ("bit32.replace(0xFFFFFFFF, 0, 0, 32)", "0"),
    ("bit32.replace(0xABCD1234, 0x55, 24, 8)", "1439502900"),
    ("bit32.replace(0, 1, 31)", "2147483648"),
    ("pcall(bit32.extract, 1, 30, 3)", "false"),
    ("pcall(bit32.extract, 1, -1)", "false"),
    ("pcall(bit32.replace, 1, 1, 0, 0)", "false"),
    ("pcall(bit32.band, 'x', 1)", "false"),
    ("bit32.band('7', 3)", "3"),
    ("bit32.lshift('1', '2')", "4"),
    ("bit32.rshift('8', '2')", "2"),
    ("bit32.arshift(8, '-2')", "32"),
    ("bit32.lrotate(1, '1')", "2"),
    ("bit32.rrotate('2', '1')", "1"),
    ("bit32.extract('255', '4', '2')", "3"),
    ("bit32.replace('255', '0', '4', '2')", "207"),
    ("bit32.lshift(1, 31.7)", "2147483648"),
    ("bit32.rshift(8, 1.9)", "4"),
    ("pcall(bit32.band, nil)", "false"),
    ("pcall(bit32.bor, 1, nil, 1)", "false"),
    ("pcall(bit32.lshift, 1)", "false"),
    ("require('bit32') == bit32", "true"),
    (
        "select(2, pcall(bit32.lshift, 1, {}))",
        "bad argument #2 to 'lshift' (number expected, got table)",
    ),
];

#[test]
fn results_are_those_of_lua_5_2() {
    let calls = CASES
        .iter()
        .map(|(call, _)| format!("print((tostring(({call}))))\n"));
    let script = format!("function on_exit()\n{}end", calls.collect::<String>());
    let said = printed(&script, "redis-split");
    for ((call, expected), result) in CASES.iter().zip(said.lines()) {
        assert_eq!(&result, expected, "{call}");
    }
    assert_eq!(said.lines().count(), CASES.len());
}

#[test]
fn results_are_the_same_once_compiled() {
    let calls = CASES.iter().map(|(call, expected)| {
        format!(
            "for i = 1, 200 do assert(tostring(({call})) == [[{expected}]], '{}') end\n",
            call.replace('\'', "\\'")
        )
    });
    let script = format!(
        "function on_exit()\n{}print('same') end",
        calls.collect::<String>()
    );
    assert_eq!(printed(&script, "redis-split"), "same\n");
}
