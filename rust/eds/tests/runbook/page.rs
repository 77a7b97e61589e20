//! The blocks of a page.

/// A block to execute.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Block {
    /// The line of the page, from 1.
    pub line: usize,
    pub script: String,
    /// The exit code that it must end with.
    pub code: i32,
    /// The expected output, if the page states it.
    pub expected: Option<String>,
}

/// Returns the blocks of a page that are marked for execution.
pub(crate) fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```").filter(|info| !info.is_empty()) else { continue };
        let mut text = String::new();
        loop {
            match lines.next() {
                None => return Err(format!("line {}: the block has no end", at + 1)),
                Some((_, "```")) => break,
                Some((_, line)) => text.push_str(&format!("{line}\n")),
            }
        }
        let words: Vec<&str> = info.split_whitespace().collect();
        match words.as_slice() {
            ["sh", "run", rest @ ..] => {
                let code = match rest {
                    [] => 0,
                    [exit] => exit
                        .strip_prefix("exit=")
                        .and_then(|code| code.parse().ok())
                        .ok_or_else(|| format!("line {}: expected exit=CODE, got {exit}", at + 1))?,
                    _ => return Err(format!("line {}: {info:?} is not understood", at + 1)),
                };
                blocks.push(Block { line: at + 1, script: text, code, expected: None });
            }
            ["text", "output"] => {
                let block = blocks.last_mut().filter(|block| block.expected.is_none());
                let block = block.ok_or_else(|| format!("line {}: output of which block?", at + 1))?;
                block.expected = Some(text);
            }
            _ => {}
        }
    }
    Ok(blocks)
}

/// Returns true if an output is as expected: `…` stands for anything within a line, a line `...` for any lines.
pub(crate) fn matches(expected: &str, output: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        let text = text.trim_matches('\n');
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    };
    match_lines(&lines(expected), &lines(output))
}

fn match_lines(expected: &[String], output: &[String]) -> bool {
    match expected.split_first() {
        None => output.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=output.len()).any(|skip| match_lines(rest, &output[skip..]))
        }
        Some((first, rest)) => output
            .split_first()
            .is_some_and(|(line, more)| match_line(first, line) && match_lines(rest, more)),
    }
}

fn match_line(expected: &str, line: &str) -> bool {
    let Some((before, after)) = expected.split_once('…') else { return expected == line };
    let Some(rest) = line.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|skip| rest.is_char_boundary(skip) && match_line(after, &rest[skip..]))
}

#[test]
fn blocks_are_found_with_their_output() {
    let page = "text\n```sh run exit=3\nfalse\n```\n\n```text output\nno …\n```\n```sh\nnot this\n```\n";
    let block = Block { line: 2, script: "false\n".into(), code: 3, expected: Some("no …\n".into()) };
    assert_eq!(blocks(page).unwrap(), [block]);
    assert!(blocks("```sh run\n").is_err() && blocks("```text output\n```\n").is_err());
}

#[test]
fn outputs_are_compared_except_variable_parts() {
    assert!(matches("a … c\n...\nend\n", "\na b c\nx\ny\nend\n"));
    assert!(matches("...\n", ""));
    assert!(!matches("a … c\n", "a b d\n") && !matches("a\n", "a\nb\n"));
}
