"""The MCP server: image tools for agents, over stdio and streamable HTTP. It needs the extra `mcp`.

`tools` describes the tools and parses their arguments, `folders` checks which files may be read and written, `results`
builds the results of tools, `server` calls the SDK, `transports` and `stdin` connect clients, and `running` and
`command` are the command `stepfun-async mcp`.
"""
