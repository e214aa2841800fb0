"""The table of fields, from declarations as stripe-node writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from local import stripe_types

DECLARATIONS = {
    "shared.d.ts": """
        export interface Address {
            city: string | null;
        }
    """,
    "resources/Owners.d.ts": """
        import { Address } from '../shared.js';
        import { Pet, DeletedPet } from './Pets.js';
        import * as Clinic from './Clinic/index.js';
        export declare class OwnerResource extends StripeResource {
            list(params?: OwnerListParams): ApiListPromise<Owner>;
        }
        export interface Owner {
            /**
             * Always 'owner': a comment may mention interface Pet {
             */
            id: string;
            object: 'owner';
            address?: Address | null;
            best: string | Pet | DeletedPet | null;
            deleted?: void;
            limits?: {
                [key: string]: Owner.Limit;
            } | null;
            pets: ApiList<Pet>;
            settings: Owner.Settings;
            visits: Array<Clinic.Visit>;
        }
        export declare namespace Owner {
            interface Settings {
                mode: Settings.Mode;
                more: Settings.More | null;
            }
            namespace Settings {
                type Mode = 'a' | 'b';
                interface More {
                    x: number;
                }
            }
        }
    """,
    "resources/Pets.d.ts": """
        export interface Pet {
            id: string;
            object: 'pet';
            name: string;
        }
        export interface DeletedPet {
            id: string;
            object: 'pet';
            deleted: true;
        }
    """,
    "resources/Clinic/Visits.d.ts": """
        export interface Visit {
            id: string;
            object: 'clinic.visit';
        }
    """,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in DECLARATIONS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_table_says_which_fields_are_required_and_which_can_be_null(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_types, "OBJECTS", ("owner", "pet"))
    found = stripe_types.table(folder)
    assert found["owner"] == {
        "id": "required",
        "object": "required",
        "address": "optional, nullable: Address",
        "best": "nullable: deleted pet, pet",
        "limits": "optional, nullable",
        "pets": "required: pet",
        "settings": "required: owner.Settings",
        "visits": "required: clinic.visit",
    }
    assert found["owner.Settings"] == {"mode": "required", "more": "nullable"}
    assert found["deleted pet"]["deleted"] == "required"
    assert found.keys() >= {"Address", "clinic.visit", "pet"}


def test_what_a_nullable_field_holds_is_in_the_table_only_if_it_is_rendered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_types, "OBJECTS", ("owner",))
    assert "owner.Settings.More" not in stripe_types.table(folder)
    monkeypatch.setattr(stripe_types, "RENDERED", ("owner.Settings.More",))
    found = stripe_types.table(folder)
    assert found["owner.Settings.More"] == {"x": "required"}
    assert found["owner.Settings"]["more"] == "nullable: owner.Settings.More"
    assert found["owner"]["address"] == "optional, nullable"
