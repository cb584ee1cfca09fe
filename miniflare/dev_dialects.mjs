/**
 * The configuration of `cargo xtask dev` with which clients of every dialect can connect, unless wrangler.toml says
 * something else.
 */
import { createHash } from "node:crypto";
import { ORGANIZATION } from "./dev_secrets.mjs";

/** A service key of the development organization's Butterbase app, for this machine only. */
export function butterbaseKey({ ACCESS_TOKEN }) {
	return `bb_sk_${createHash("sha256").update(`butterbase ${ACCESS_TOKEN}`).digest("hex")}`;
}

/** Variables for the dialects whose clients need more than a session token, or that are off by default. */
export function dialectVars(secrets) {
	const hash = createHash("sha256").update(butterbaseKey(secrets)).digest("hex");
	return {
		API_KEYS: JSON.stringify([{ name: "butterbase", hash, organizationId: ORGANIZATION, userId: "butterbase", roles: ["butterbase_service"] }]),
		REALTIME: {
			// The tables of the Inspector's examples: Fluxbase can subscribe to existing ones only.
			tables: { employees: {}, claims: {} },
			butterbase: { tables: ["*"], listeners: -1 },
			fluxbase: { organization: ORGANIZATION },
		},
	};
}
