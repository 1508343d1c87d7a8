"""A program that prints an answer as it comes: `reading_program.py THREAD_ID ASSISTANT_ID`. Made to be killed."""

import sys

import openai


def main(thread_id: str, assistant_id: str) -> None:
    """Stream a run over the thread, a line for each piece of its text."""
    client = openai.OpenAI(max_retries=0)
    with client.beta.threads.runs.stream(thread_id=thread_id, assistant_id=assistant_id) as stream:
        for text in stream.text_deltas:
            print(text, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
