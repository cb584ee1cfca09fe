import { type FormEvent, useState } from "react";
import { authClient } from "./auth.ts";

/** Signs in, or signs up if the form has a name. */
export function SignIn() {
	const [message, setMessage] = useState("");
	async function submit(event: FormEvent<HTMLFormElement>) {
		event.preventDefault();
		const { name, email, password } = Object.fromEntries(new FormData(event.currentTarget)) as Record<"name" | "email" | "password", string>;
		const { error } = name ? await authClient.signUp.email({ name, email, password }) : await authClient.signIn.email({ email, password });
		setMessage(error?.message ?? "");
	}
	return (
		<form onSubmit={submit}>
			<h1>Tasks</h1>
			<label>Name, to sign up <input name="name" autoComplete="name" /></label>
			<label>Email <input name="email" type="email" autoComplete="email" required /></label>
			<label>Password <input name="password" type="password" autoComplete="current-password" minLength={8} required /></label>
			<button>Continue</button>
			<p role="status">{message}</p>
		</form>
	);
}
