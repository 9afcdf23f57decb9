//! Extracts the commands in a section of README.md, so that documented commands are tested.

pub const README: &str = include_str!("../../../../README.md");

/// The fenced blocks below a heading, each as lines without comments.
pub fn blocks(text: &str, heading: &str) -> Vec<Vec<String>> {
    let mut lines =
        text.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    let mut blocks = Vec::new();
    while lines.any(|line| line.starts_with("```")) {
        let block = lines.by_ref().take_while(|line| !line.starts_with("```"));
        let commands = block.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned());
        blocks.push(commands.filter(|line| !line.is_empty()).collect());
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_with_their_section() {
        let text = "# A\n```\nno\n```\n## B\ntext\n```\none   # why\n\ntwo\n```\nmore\n```sh\nthree\n```\n## C\n```\nno\n```\n";
        assert_eq!(blocks(text, "## B"), [vec!["one", "two"], vec!["three"]]);
        assert!(blocks(text, "## D").is_empty());
    }
}
