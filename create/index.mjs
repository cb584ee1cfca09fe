#!/usr/bin/env node
/**
 * `npm create realtime-worker <folder>`: creates a project from the template.
 */
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const TEMPLATE = fileURLToPath(new URL("template", import.meta.url));
/** The version that wrangler needs, which runs the project. */
const OLDEST_NODE = [22, 12];

function create(given) {
	const { values, positionals } = parseArgs({
		args: given,
		allowPositionals: true,
		options: { "realtime-worker": { type: "string" }, "no-install": { type: "boolean", default: false } },
	});
	if (!isNewEnough(process.versions.node)) throw new Error(`this is Node ${process.versions.node}: wrangler, which runs the project, needs ${OLDEST_NODE.join(".")} or newer`);
	const [folder] = positionals;
	if (positionals.length !== 1) throw new Error("say where: npm create realtime-worker my-app");
	if (existsSync(folder) && readdirSync(folder).length > 0) throw new Error(`${folder} is not empty`);
	cpSync(TEMPLATE, folder, { recursive: true });
	// npm would omit a file of this name from the package.
	renameSync(join(folder, "_gitignore"), join(folder, ".gitignore"));
	describe(folder, values["realtime-worker"]);
	const isInstalled = !values["no-install"] && spawnSync("npm", ["install"], { cwd: folder, stdio: "inherit" }).status === 0;
	console.log(["", `  cd ${folder}`, ...(isInstalled ? [] : ["  npm install"]), "  npm run dev", ""].join("\n"));
}

function isNewEnough(version) {
	const [major, minor] = version.split(".").map(Number);
	const [oldest, least] = OLDEST_NODE;
	return major > oldest || (major === oldest && minor >= least);
}

/** Sets the project's name, and where the package comes from: the registry, a tarball, or another version. */
function describe(folder, source) {
	const file = join(folder, "package.json");
	const manifest = JSON.parse(readFileSync(file, "utf8"));
	manifest.name = basename(resolve(folder)).toLowerCase().replace(/[^a-z0-9-]+/g, "-").replace(/^-+|-+$/g, "") || "my-app";
	if (source) manifest.dependencies["realtime-worker"] = existsSync(source) ? `file:${resolve(source)}` : source;
	writeFileSync(file, `${JSON.stringify(manifest, null, "\t")}\n`);
}

try {
	create(process.argv.slice(2));
} catch (error) {
	console.error(`error: ${error.message}`);
	process.exitCode = 1;
}
