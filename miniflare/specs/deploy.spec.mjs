/**
 * How wrangler interprets the committed wrangler.toml: its `[build]` runs the project's own build.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const wranglerProgram = fileURLToPath(new URL("../node_modules/.bin/wrangler", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "realtime-worker-"));
after(() => rmSync(scratch, { recursive: true }));

/** Starts wrangler without an account, in a separate process group, because its child processes have to end with it. */
function startWrangler(...words) {
	return spawn(process.execPath, [wranglerProgram, ...words], {
		cwd: checkout,
		detached: true,
		stdio: ["ignore", "pipe", "pipe"],
		env: {
			...process.env,
			CI: "true",
			WRANGLER_HIDE_BANNER: "true",
			WRANGLER_LOG_PATH: scratch,
			WRANGLER_SEND_METRICS: "false",
			CLOUDFLARE_CF_FETCH_ENABLED: "false",
		},
	});
}

/** Everything that it prints. */
function collectOutput(child) {
	const output = [];
	for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => output.push(data));
	return () => Buffer.concat(output).toString();
}

/** The cost of loading a Worker: its compressed bytes. A dependency's feature once added 10 KB unnoticed. */
const MAX_COMPRESSED_BYTES = 1_250_000;

test("a dry run of the deployment succeeds, and what it would upload is small", async () => {
	const folder = join(scratch, "deployed");
	const wrangler = startWrangler("deploy", "--dry-run", "--outdir", folder);
	const output = collectOutput(wrangler);
	const [code] = await once(wrangler, "close");
	assert.equal(code, 0, output());
	assert.match(output(), /BROADCASTER/);
	const wasm = readdirSync(folder).find((file) => file.endsWith(".wasm"));
	assert.ok(wasm, output());
	const compressed = gzipSync(readFileSync(join(folder, wasm))).length;
	assert.ok(compressed < MAX_COMPRESSED_BYTES, `${wasm}: ${compressed} bytes gzipped`);
});

test("wrangler dev serves the Worker", async (context) => {
	const wrangler = startWrangler("dev", "--port=0", "--inspector-port=0", "--persist-to", join(scratch, "state"));
	const output = collectOutput(wrangler);
	const closed = once(wrangler, "close");
	context.after(async () => {
		process.kill(-wrangler.pid, "SIGTERM");
		await closed;
	});
	const url = await readyUrl(wrangler);
	assert.ok(url, output());
	const response = await fetch(`${url}/health`);
	assert.equal(response.status, 200, output());
});

/** The address at which it listens; nothing if it ends before. */
async function readyUrl(wrangler) {
	for await (const line of createInterface({ input: wrangler.stdout })) {
		const ready = line.match(/Ready on (http:\S+)/);
		if (ready) return ready[1];
	}
}
