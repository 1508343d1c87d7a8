"""Items: what a conversation holds, as Responses and Conversations name it. A message is one, and so is a tool call."""
