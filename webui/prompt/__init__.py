"""The prompt language: from what a person typed to what is encoded at which step. Knows no torch and no tokenizer.

In the order in which a prompt passes through: `styles`, `comments`, `wildcards`, `tags`, `composition` (AND),
`schedule` ([a:b:0.5]), `weights` ((a:1.2), BREAK), `chunks` (75 tokens). `plan` ties them together. Everything takes
time linear in the text and accepts every text; what is too long is refused by `limits`. For users: docs/prompts.md.
"""
