// Loaded before an example: gives Node 20 the WebSocket that browsers and Node 22 have.

import WebSocketOfWs from "ws";

globalThis.WebSocket ??= WebSocketOfWs;
