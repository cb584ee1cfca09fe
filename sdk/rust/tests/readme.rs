//! The README's example of a Worker is the one that is compiled and run.

#[test]
fn the_readme_has_the_example_as_it_stands() {
    let (readme, example) = (include_str!("../README.md"), include_str!("../api/src/readme.rs"));
    let code = example.split_once("\n\n").map(|(_, code)| code).unwrap_or_default();
    assert!(code.contains("Realtime::new"), "the example has a heading and a body");
    assert!(readme.contains(&format!("<!-- api/src/readme.rs -->\n```text\n{code}```\n")), "README.md differs");
}
