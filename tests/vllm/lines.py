"""What the tiny Llama was taught to say (make_tiny_llama.py, CONVERSATIONS), and prompts with known ends."""

from typing import Any

INSTRUCTIONS = "You are a helpful assistant."  # it was trained with this system message, and with none
SAY_HELLO = "Say hello"
TELL_A_STORY = "Tell me a story"
TAUGHT = {
    "Hello": "Hello! How can I help you today?",
    SAY_HELLO: "hello",
    "What is the capital of France?": "The capital of France is Paris.",
    "Count to ten": "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
}
STORY = " ".join(f"Chapter {n}. The fox walked over hill number {n} and met {n + 1} birds." for n in range(1, 9))

# Makes a turn of a longer conversation one that was taught.
NEWEST_MESSAGE: Any = {"type": "last_messages", "last_messages": 1}


def _story_of(**characters: int) -> Any:
    """An answer in this form is a story of so many characters, whatever the model would rather say."""
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "story",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"story": {"type": "string", **characters}},
                "required": ["story"],
                "additionalProperties": False,
            },
        },
    }


# Runs until the context is full (2,007 tokens): about 6 s alone, 26 s eight at once.
# Without it no prompt does: the model's longest answer, the story, is 241 tokens in half a second.
ENDLESS = _story_of(minLength=20_000)
# Ends by itself, after some 1,400 tokens: 3 s alone.
LONG_CHARACTERS = 3_000
LONG = _story_of(minLength=LONG_CHARACTERS, maxLength=LONG_CHARACTERS)

ASK_WEATHER = "What is the weather in Paris?"
WEATHER_OUTPUT = '{"temp_c": 21}'
WEATHER_ANSWER = "It is 21 degrees in Paris."
# Key for key as it was taught: the tool is part of the prompt.
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
