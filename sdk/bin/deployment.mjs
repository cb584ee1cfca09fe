/**
 * `npx realtime-worker dev` and `deploy`: run wrangler with a generated configuration.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { realtimeVariable } from "../dist/server/index.js";
import { loadConfig, takeOption } from "./config.mjs";
import { readSecrets } from "./secrets.mjs";

/** Where the configuration is written. `wrangler dev -c wrangler.jsonc -c .realtime/wrangler.json` runs both Workers. */
const FOLDER = ".realtime";
/** The date and flags that the Worker is tested with. */
const RUNTIME = JSON.parse(readFileSync(new URL("../dist/worker/runtime.json", import.meta.url), "utf8"));

/** Serves the Worker locally, with secrets that are created once. */
export async function dev(given) {
	return wrangler("dev", await prepare(given));
}

/** Writes the configuration for a wrangler that runs both Workers. */
export async function config(given) {
	const [unknown] = await prepare(given);
	if (unknown !== undefined) throw new Error(`config has no argument ${unknown}`);
	console.error(`wrote ${FOLDER}/wrangler.json: wrangler dev -c wrangler.json -c ${FOLDER}/wrangler.json`);
	return 0;
}

/** Writes the configuration and the local secrets, and returns wrangler's arguments. */
async function prepare(given) {
	const rest = await writeConfiguration(given);
	const lines = Object.entries(readSecrets()).map(([name, value]) => `${name}=${value}\n`);
	writeFileSync(`${FOLDER}/.dev.vars`, lines.join(""), { mode: 0o600 });
	return rest;
}

/** Deploys the Worker. */
export async function deploy(given) {
	const rest = await writeConfiguration(given);
	const status = await wrangler("deploy", rest);
	if (status === 0) console.error(`Its secrets, once: npx wrangler secret put ACCESS_TOKEN -c ${FOLDER}/wrangler.json, and JWT_SECRET.`);
	return status;
}

/** Writes wrangler's configuration, and returns wrangler's arguments. */
async function writeConfiguration(given) {
	const { value: file, rest } = takeOption(given, "--config");
	// Every other key is a section of `REALTIME`; the Worker rejects unknown ones.
	const { name = "realtime-worker", schema: _, vars, tables = {}, ...sections } = await loadConfig(file);
	const main = relative(resolve(FOLDER), fileURLToPath(new URL("../dist/worker/index.js", import.meta.url)));
	const configuration = {
		name,
		main: main.split(sep).join("/"),
		...RUNTIME,
		vars: { ...vars, REALTIME: realtimeVariable({ ...sections, tables }) },
		observability: { enabled: true },
	};
	mkdirSync(FOLDER, { recursive: true });
	writeFileSync(`${FOLDER}/.gitignore`, "*\n");
	writeFileSync(`${FOLDER}/wrangler.json`, `${JSON.stringify(configuration, null, "\t")}\n`);
	return rest;
}

/** Runs the application's wrangler. */
function wrangler(command, rest) {
	const here = createRequire(resolve("package.json"));
	let program;
	try {
		program = here.resolve("wrangler/package.json").replace(/package\.json$/, "bin/wrangler.js");
	} catch {
		throw new Error("wrangler is not installed here: npm install --save-dev wrangler");
	}
	const child = spawn(process.execPath, [program, command, "--config", `${FOLDER}/wrangler.json`, ...rest], { stdio: "inherit" });
	for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
	return new Promise((settle, reject) => child.once("error", reject).once("close", (code) => settle(code ?? 1)));
}
