/**
 * `wrangler dev` and similar programs for the specs, which serve until they are ended.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";

/**
 * Starts a program of Node that serves, and gives its address once it says it.
 *
 * @param {{after: (act: () => Promise<void>) => void}} context a test, at whose end it is ended
 * @param {string} cwd
 * @param {string[]} given the program and its arguments
 * @param {Record<string, string>} [more] variables of its environment
 */
export function serve(context, cwd, given, more = {}) {
	const env = { ...process.env, CI: "1", WRANGLER_SEND_METRICS: "false", ...more };
	const child = spawn(process.execPath, given, { cwd, env });
	// Registered before it ends: a failed one has closed by then.
	const closed = once(child, "close");
	context.after(async () => {
		child.kill("SIGTERM");
		await closed;
	});
	let output = "";
	return new Promise((resolve, reject) => {
		for (const stream of [child.stdout, child.stderr]) {
			stream.on("data", (data) => {
				output += data;
				const [, url] = output.match(/Ready on (http:\/\/\S+)/) ?? [];
				if (url) resolve(url);
			});
		}
		child.once("exit", (code) => reject(new Error(`exit ${code}: ${output}`)));
	});
}
