"""The demonstration tenants: invented businesses with well-formed numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tenant:
    slug: str
    legal_name: str
    domain: str
    people: dict[str, str]
    products: list[tuple[str, str, str, bool]]
    suppliers: list[tuple[str, str, str]]
    customers: list[tuple[str, str, str, str, str, str]]
    lots: int


def check_digit(digits: str) -> str:
    """GS1 General Specifications 7.9: weights 3 and 1 from the right."""
    weighted = sum(int(d) * (3 if at % 2 == 0 else 1) for at, d in enumerate(reversed(digits)))
    return digits + str(-weighted % 10)


def iban(country: str, bban: str) -> str:
    """ISO 13616: check digits by ISO 7064 MOD 97-10."""
    numeric = "".join(str(int(c, 36)) for c in f"{bban}{country}00")
    return f"{country}{98 - int(numeric) % 97:02d}{bban}"


# How account numbers look: bank code and length of the number in digits.
BBANS = {
    "IE": lambda n: f"AIBK931152{n:08d}",
    "FR": lambda n: _french(f"3000600001{n:011d}"),
    "DE": lambda n: f"50070010{n:010d}",
    "NL": lambda n: f"INGB{n:010d}",
    "DK": lambda n: f"0040{n:010d}",
}


def _french(without_key: str) -> str:
    return f"{without_key}{97 - int(without_key) * 100 % 97:02d}"


DAIRY = Tenant(
    slug="acme-dairy",
    legal_name="Acme Dairy Co-operative Ltd",
    domain="acme-dairy.example",
    people={
        "super_admin": "Aoife Brennan",
        "admin": "Padraig Quirke",
        "ops_user": "Marta Kowalska",
        "viewer": "Colm Devane",
        "demo": "Demo Visitor",
    },
    products=[
        ("539123450001", "Raw cow's milk", "Raw milk, chilled, in bulk", True),
        ("539123450002", "Farmhouse Cheddar 2.5 kg", "Hard cheese from pasteurised cow's milk", True),
        ("539123450003", "Farmhouse Cheddar 200 g", "Hard cheese, cut and packed", True),
        ("539123450004", "Soft goat's cheese 150 g", "Fresh cheese from goat's milk", True),
        ("539123450005", "Salted butter 227 g", "Butter, 80 % milk fat, 1.8 % salt", True),
        ("539123450006", "Sea salt, fine", "Food grade, for brine", False),
    ],
    suppliers=[
        ("Hollow Farm", "IE", "milk@hollow-farm.example"),
        ("Knocknagree Milk Producers", "IE", "dispatch@knocknagree.example"),
        ("Glenview Goats", "IE", "hello@glenview-goats.example"),
        ("Sel de Guérande Coopérative", "FR", "ventes@sel-guerande.example"),
        ("Présure du Nord SAS", "FR", "commandes@presure-nord.example"),
        ("Kulturen & Lab GmbH", "DE", "auftrag@kulturen-lab.example"),
        ("Van Dijk Verpakkingen BV", "NL", "orders@vandijk-pack.example"),
        ("Jysk Emballage A/S", "DK", "salg@jysk-emballage.example"),
    ],
    customers=[
        ("Quay Street Deli", "IE", "14 Quay Street", "Cork", "T12 X2P5", "+353214560101"),
        ("Harbour Foods Cash & Carry", "IE", "Unit 7, Dock Road", "Limerick", "V94 K1C8", "+353614560102"),
        ("The Cheese Press", "IE", "3 Castle Lane", "Kilkenny", "R95 D8N2", "+353564560103"),
        ("Atlantic Hotels Group", "IE", "1 Strand Road", "Galway", "H91 P6E4", "+353914560104"),
        ("Midlands Wholesale", "IE", "Clonbrusk Business Park", "Athlone", "N37 Y9W1", "+353904560105"),
        ("Murphy's Market Stall", "IE", "English Market", "Cork", "T12 AB34", "+353214560106"),
        ("Slaney Catering", "IE", "22 Main Street", "Enniscorthy", "Y21 F7K0", "+353534560107"),
        ("Sperrin Stores", "XI", "8 Market Square", "Dungannon", "BT70 1AB", "+442887560108"),
        ("Fromagerie Lefèvre", "FR", "12 rue des Halles", "Lille", "59000", "+33320456010"),
        ("Épicerie Saint-Malo", "FR", "5 quai Duguay-Trouin", "Saint-Malo", "35400", "+33299456011"),
        ("Feinkost Böhm", "DE", "Marktplatz 4", "Bonn", "53111", "+49228456012"),
        ("Kaasland Import BV", "NL", "Havenweg 31", "Rotterdam", "3089 JK", "+31104560113"),
        ("Nordisk Ost ApS", "DK", "Havnegade 9", "Aarhus", "8000", "+4586456014"),
        ("Bretzel & Brie GmbH", "DE", "Hauptstraße 77", "Freiburg", "79098", "+49761456015"),
    ],
    lots=50,
)

SEAFOOD = Tenant(
    slug="brill-seafood",
    legal_name="Brill Seafood Teoranta",
    domain="brill-seafood.example",
    people={
        "super_admin": "Bríd Ní Fhlatharta",
        "admin": "Seán Mac Donncha",
        "ops_user": "Tomás Ó Conghaile",
        "viewer": "Inês Carvalho",
        "demo": "Demo Visitor",
    },
    products=[
        ("539765430001", "Atlantic brill, whole", "Scophthalmus rhombus, chilled, FAO 27", True),
        ("539765430002", "Brown crab, live", "Cancer pagurus, pot-caught, FAO 27", True),
        ("539765430003", "Smoked mackerel 200 g", "Hot-smoked fillets, vacuum packed", True),
    ],
    suppliers=[
        ("MFV Naomh Éanna", "IE", "skipper@naomh-eanna.example"),
        ("Ros a' Mhíl Ice Plant", "IE", "office@icerosamhil.example"),
        ("Räucherholz Nord GmbH", "DE", "kontor@raeucherholz.example"),
    ],
    customers=[
        ("Claddagh Fish Shop", "IE", "2 Claddagh Quay", "Galway", "H91 E3V7", "+353914560201"),
        ("Poissonnerie du Port", "FR", "18 quai Carnot", "Lorient", "56100", "+33297456020"),
        ("Mercado Atlântico", "PT", "Rua da Ribeira 44", "Porto", "4050-513", "+351224560203"),
    ],
    lots=8,
)

TENANTS = (DAIRY, SEAFOOD)


def product(tenant: Tenant, index: int) -> dict:
    gtin, name, description, animal_origin = tenant.products[index]
    return {"gtin": check_digit(gtin), "name": name, "description": description, "animal_origin": animal_origin}


def supplier(tenant: Tenant, index: int) -> dict:
    name, country, email = tenant.suppliers[index]
    account = 12345678 + 1111 * index + 7 * len(name)
    return {
        "name": name,
        "country": country,
        "email": email,
        "gln": check_digit(f"53912345{index:04d}"),
        "banking": {"iban": iban(country, BBANS[country](account)), "account_holder": name},
    }


def customer(tenant: Tenant, index: int) -> dict:
    name, country, line1, town, postcode, phone = tenant.customers[index]
    address = {"line1": line1, "town": town, "postcode": postcode, "country": country}
    return {"name": name, "country": country, "delivery_address": address, "phone": phone}


def lot(tenant: Tenant, index: int, products: list[str], suppliers: list[str]) -> dict:
    return {
        "lot_number": f"{tenant.slug[0].upper()}26-{index + 1:03d}",
        "product_id": products[index % len(products)],
        "quantity": {"value": f"{120 + 37 * index % 400}.{index % 4 * 25:02d}", "unit": "KGM"},
        "best_before": f"2027-{index % 12 + 1:02d}-{index % 28 + 1:02d}",
        "origin": tenant.suppliers[index % len(suppliers)][1],
        "supplier_id": suppliers[index % len(suppliers)],
    }
