/**
 * Channel policies: who may read a topic, write to it, or be present in it, as in the Worker.
 */
import type { Viewer } from "./viewer.ts";

/** A policy for topics, as in `channels` of the Worker's `REALTIME`. */
export interface Channel {
	readonly topic: string;
	readonly read?: { readonly roles?: readonly string[] };
	readonly write?: { readonly roles?: readonly string[] };
	readonly presence?: { readonly roles?: readonly string[] };
	readonly history?: boolean;
}

/**
 * Whether the channel policies let a viewer read a private topic, write to it or be present in it; the first policy
 * that matches decides.
 */
export function isAllowed(channels: readonly Channel[], action: "read" | "write" | "presence", topic: string, viewer: Viewer): boolean {
	const policy = policyOf(channels, topic, viewer)?.[action];
	return policy !== undefined && (!policy.roles || holds(viewer, policy.roles));
}

/** The policy of a topic. */
export function policyOf(channels: readonly Channel[], topic: string, viewer: Viewer): Channel | undefined {
	return channels.find((channel) => {
		const parts = channel.topic.split(/(\*|\{[^}]*\})/).map((part) => {
			if (part === "*") return ".*";
			return escaped(/^\{.*\}$/.test(part) ? `${claim(viewer, part.slice(1, -1)) ?? "\0"}` : part);
		});
		return new RegExp(`^${parts.join("")}$`, "s").test(topic);
	});
}

function claim({ userId, claims }: Viewer, name: string): unknown {
	return name === "sub" ? userId : claims?.[name];
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Whether a viewer has one of the roles. */
export function holds({ roles }: Viewer, wanted: readonly string[]): boolean {
	return wanted.some((role) => role !== "" && roles.includes(role));
}
