import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startServer } from "../server.mjs";

const server = await startServer();
after(() => server.dispose());

test("health tells the version", async () => {
	const response = await fetch(`${server.url}/health`);
	assert.equal(response.status, 200);
	const { version } = await response.json();
	assert.match(version, /^\d+\.\d+\.\d+/);
});
