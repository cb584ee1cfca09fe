/**
 * `npm run dev`: both Workers in one wrangler, behind Vite, which serves the page.
 */
import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseEnv } from "node:util";
import { createServer } from "vite";

const require = createRequire(import.meta.url);
const program = (name, path) => require.resolve(`${name}/package.json`).replace(/package\.json$/, path);
const wrangler = program("wrangler", "bin/wrangler.js");

function run(...given) {
	const { status } = spawnSync(process.execPath, given, { stdio: ["ignore", "ignore", "inherit"] });
	if (status !== 0) process.exit(1);
}

/** The local secrets; those of the realtime Worker are created by its own command. */
run(program("realtime-worker", "bin/realtime-worker.mjs"), "config");
if (!parseEnv(readFileSync(".dev.vars", "utf8")).BETTER_AUTH_SECRET) {
	appendFileSync(".dev.vars", `BETTER_AUTH_SECRET=${randomBytes(32).toString("hex")}\n`);
}
run(wrangler, "d1", "migrations", "apply", "DB", "--local");
// The folder of the built page, which wrangler requires to exist.
mkdirSync("dist", { recursive: true });

const both = ["-c", "wrangler.json", "-c", ".realtime/wrangler.json"];
const workers = spawn(process.execPath, [wrangler, "dev", ...both, "--port", "0", "--inspector-port", "0"], {
	stdio: ["ignore", "pipe", "inherit"],
	env: { ...process.env, CI: "1" },
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => workers.kill(signal));
workers.once("close", (code) => process.exit(code ?? 0));

const target = await new Promise((resolve) => {
	let output = "";
	workers.stdout.on("data", (data) => {
		process.stdout.write(data);
		output += data;
		const [, url] = output.match(/Ready on (http:\/\/\S+)/) ?? [];
		if (url) resolve(url);
	});
});
const port = Number(process.env.PORT ?? 5173);
const server = await createServer({
	server: { port, proxy: { "/api": { target }, "/realtime": { target, ws: true } } },
});
await server.listen();
console.log(`\n  Open ${server.resolvedUrls.local[0]} in two browsers, and sign up in both: the first is the admin.\n`);
