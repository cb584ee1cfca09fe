/**
 * `npm create realtime-worker`: the created project runs with one command, and does in two browsers what it promises.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { launch, openTab } from "../../miniflare/browser.mjs";
import { checkout, install, program, run } from "./package-rig.mjs";

const home = await install();
after(() => home.dispose());
const folder = join(await home.project("projects", {}), "../My App");
const create = (...given) => run(dirname(folder), process.execPath, `${checkout}create/index.mjs`, ...given);
await create(folder, "--no-install", "--realtime-worker", home.tarball);

test("the project has its name, its package and what npm would leave out; a folder with files is left alone", async () => {
	const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
	assert.equal(manifest.name, "my-app");
	assert.equal(manifest.dependencies["realtime-worker"], `file:${home.tarball}`);
	assert.match(await readFile(join(folder, ".gitignore"), "utf8"), /\.dev\.vars/);
	await assert.rejects(create(folder, "--no-install"), /is not empty/);
	await assert.rejects(create(), /say where/);
});

test("a Node that wrangler does not run on is told before anything is made", async () => {
	const made = join(folder, "../too-old");
	const pretend = `data:text/javascript,Object.defineProperty(process, "versions", { value: { ...process.versions, node: "22.11.0" } })`;
	const started = run(dirname(folder), process.execPath, "--import", pretend, `${checkout}create/index.mjs`, made, "--no-install");
	await assert.rejects(started, /this is Node 22\.11\.0: wrangler, which runs the project, needs 22\.12 or newer/);
	await assert.rejects(readFile(join(made, "package.json")), { code: "ENOENT" });
});

test("its types are right, and its migration is the newest", async () => {
	await run(folder, program("tsc"), "--project", ".");
	assert.match(await run(folder, process.execPath, join(home.installed, "bin/realtime-worker.mjs"), "schema", "--check", "migrations"), /up to date/);
});

/** Starts `npm run dev`, and returns the page's address. */
async function develop(context) {
	const child = spawn(process.execPath, ["dev.mjs"], { cwd: folder, env: { ...process.env, PORT: "0", WRANGLER_SEND_METRICS: "false" } });
	context.after(async () => {
		child.kill("SIGTERM");
		await once(child, "close");
	});
	let output = "";
	return new Promise((resolve, reject) => {
		for (const stream of [child.stdout, child.stderr]) {
			stream.on("data", (data) => {
				output += data;
				const [, url] = output.match(/Open (http:\/\/\S+) in two browsers/) ?? [];
				if (url) resolve({ url, output: () => output });
			});
		}
		child.once("exit", (code) => reject(new Error(`exit ${code}: ${output}`)));
	});
}

/** Someone who signs up, in a separate browser. */
async function enter(browser, url, name) {
	const page = await openTab(browser);
	page.setDefaultTimeout(60_000);
	await page.goto(url);
	await page.getByLabel("Name").fill(name);
	await page.getByLabel("Email").fill(`${name.toLowerCase()}@example.com`);
	await page.getByLabel("Password").fill("correct horse");
	await page.getByRole("button", { name: "Continue" }).click();
	await page.getByTestId("state").getByText("live").waitFor();
	return page;
}

test("two people see each other's changes at once, each with their own masks", async (context) => {
	const { url, output } = await develop(context);
	const browser = await launch();
	context.after(() => browser.close());
	try {
		const ada = await enter(browser, url, "Ada");
		const mel = await enter(browser, url, "Mel");
		for (const page of [ada, mel]) await page.getByTestId("people").getByText("Ada, Mel").waitFor();

		const add = async (page, title, contact) => {
			await page.getByLabel("Task").fill(title);
			await page.getByLabel("Contact").fill(contact);
			await page.getByRole("button", { name: "Add" }).click();
		};
		await add(ada, "Call Grace", "grace@navy.mil");
		await ada.getByText("grace@navy.mil").waitFor();
		await mel.getByText("g***@n***.mil").waitFor();
		await add(mel, "Write to Alan", "alan@bletchley.uk");
		for (const page of [ada, mel]) await page.getByText("alan@bletchley.uk").waitFor();

		await mel.getByLabel("Call Grace").click();
		await ada.locator("input:checked").waitFor();
		await ada.getByRole("button", { name: "Clear what is done" }).click();
		await mel.getByText("Call Grace").waitFor({ state: "detached" });

		// What is read shows no more than what was received.
		await mel.reload();
		await mel.getByTestId("state").getByText("live").waitFor();
		assert.equal(await mel.getByRole("listitem").count(), 1);
		assert.deepEqual([...ada.complaints, ...mel.complaints], []);
	} catch (error) {
		throw new Error(`${error.message}\n${output()}`, { cause: error });
	}
});
