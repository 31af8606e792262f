"""The MCP server: image tools for agents, over stdio and streamable HTTP. It needs the extra `mcp`.

`tools` describes the tools and reads their arguments, `folders` says which files may be read and written, `results`
makes the results of tools, `server` calls the SDK, `transports` and `stdin` serve, and `running` and `command` are
the command `stepfun-async mcp`.
"""
