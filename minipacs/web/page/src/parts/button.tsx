import type { AnchorHTMLAttributes, ButtonHTMLAttributes, ComponentChildren } from "preact";

import { Icon, type IconName } from "./icons";

interface Look {
  icon?: IconName;
  kind?: "main" | "plain" | "danger" | "danger main" | "";
  /** Show the icon alone; the words are then what it is called. */
  isBare?: boolean;
  children: ComponentChildren;
}

type ButtonProps = Look & Omit<ButtonHTMLAttributes<HTMLButtonElement>, "icon">;

/** A button with words, and an icon before them. */
export function Button({ icon, kind = "", isBare = false, children, type = "button", ...rest }: ButtonProps) {
  return (
    <button
      {...rest}
      type={type}
      class={`button ${kind}`}
      title={isBare && typeof children === "string" ? children : undefined}
    >
      {icon && <Icon name={icon} />}
      <span class={isBare ? "hidden" : ""}>{children}</span>
    </button>
  );
}

type LinkProps = Look &
  Pick<AnchorHTMLAttributes<HTMLAnchorElement>, "download" | "target" | "rel" | "onClick"> & { href: string };

/** A link that looks like a button. */
export function ButtonLink({ icon, kind = "", isBare = false, children, ...rest }: LinkProps) {
  return (
    <a {...rest} class={`button ${kind}`} title={isBare && typeof children === "string" ? children : undefined}>
      {icon && <Icon name={icon} />}
      <span class={isBare ? "hidden" : ""}>{children}</span>
    </a>
  );
}
