//! The words of the Core Business Vocabulary (CBV 2.0): the short names that
//! EPCIS 2.0 documents use, and the URIs that say the same.

/// A vocabulary of the CBV.
#[derive(Debug)]
pub struct Vocabulary {
    /// Its part in a URN, `urn:epcglobal:cbv:<urn>:<word>`.
    urn: &'static str,
    /// Its part in a web URI, `https://ref.gs1.org/cbv/<web>-<word>`.
    web: &'static str,
    /// Its words.
    pub words: &'static [&'static str],
}

impl Vocabulary {
    /// The short name of a word of the standard, whichever way it is written;
    /// anything else as it is.
    pub fn short<'t>(&self, text: &'t str) -> &'t str {
        let urn = text
            .strip_prefix("urn:epcglobal:cbv:")
            .and_then(|rest| rest.strip_prefix(self.urn))
            .and_then(|rest| rest.strip_prefix(':'));
        let web = || {
            let path =
                ["https://ref.gs1.org/cbv/", "https://ns.gs1.org/cbv/", "http://ns.gs1.org/cbv/"]
                    .iter()
                    .find_map(|start| text.strip_prefix(start))
                    .or_else(|| text.strip_prefix("cbv:"))?;
            path.strip_prefix(self.web)?.strip_prefix('-')
        };
        match urn.or_else(web) {
            Some(word) if self.words.contains(&word) => word,
            _ => text,
        }
    }
}

/// Business steps (CBV §7.1).
pub const BIZ_STEP: Vocabulary = Vocabulary {
    urn: "bizstep",
    web: "BizStep",
    words: &[
        "accepting",
        "arriving",
        "assembling",
        "collecting",
        "commissioning",
        "consigning",
        "creating_class_instance",
        "cycle_counting",
        "decommissioning",
        "departing",
        "destroying",
        "disassembling",
        "dispensing",
        "encoding",
        "entering_exiting",
        "holding",
        "inspecting",
        "installing",
        "killing",
        "loading",
        "other",
        "packing",
        "picking",
        "receiving",
        "removing",
        "repackaging",
        "repairing",
        "replacing",
        "reserving",
        "retail_selling",
        "sampling",
        "sensor_reporting",
        "shipping",
        "staging_outbound",
        "stock_taking",
        "stocking",
        "storing",
        "transporting",
        "unloading",
        "unpacking",
        "void_shipping",
    ],
};

/// Dispositions (CBV §7.2).
pub const DISPOSITION: Vocabulary = Vocabulary {
    urn: "disp",
    web: "Disp",
    words: &[
        "active",
        "available",
        "completeness_inferred",
        "completeness_verified",
        "conformant",
        "container_closed",
        "container_open",
        "damaged",
        "destroyed",
        "dispensed",
        "disposed",
        "encoded",
        "expired",
        "in_progress",
        "in_transit",
        "inactive",
        "mismatch_class",
        "mismatch_instance",
        "mismatch_quantity",
        "needs_replacement",
        "no_pedigree_match",
        "non_conformant",
        "non_sellable_other",
        "partially_dispensed",
        "recalled",
        "reserved",
        "retail_sold",
        "returned",
        "sellable_accessible",
        "sellable_not_accessible",
        "stolen",
        "unavailable",
        "unknown",
    ],
};

/// Types of business transactions (CBV §7.3).
pub const BIZ_TRANSACTION: Vocabulary = Vocabulary {
    urn: "btt",
    web: "BTT",
    words: &[
        "bol",
        "cert",
        "desadv",
        "inv",
        "pedigree",
        "po",
        "poc",
        "prodorder",
        "recadv",
        "rma",
        "testprd",
        "testres",
        "upevt",
    ],
};

/// Types of sources and destinations (CBV §7.4).
pub const SOURCE_DESTINATION: Vocabulary =
    Vocabulary { urn: "sdt", web: "SDT", words: &["location", "owning_party", "possessing_party"] };

/// Reasons of error declarations (CBV §7.5).
pub const ERROR_REASON: Vocabulary =
    Vocabulary { urn: "er", web: "ER", words: &["did_not_occur", "incorrect_data"] };

/// Components of vector values in sensor reports.
pub const COMPONENT: Vocabulary = Vocabulary {
    urn: "comp",
    web: "Comp",
    words: &[
        "altitude",
        "axial_distance",
        "azimuth",
        "easting",
        "elevation_angle",
        "height",
        "latitude",
        "longitude",
        "northing",
        "polar_angle",
        "spherical_radius",
        "x",
        "y",
        "z",
    ],
};

/// Measurement types of the GS1 Web Vocabulary.
pub const MEASUREMENTS: &[&str] = &[
    "AbsoluteHumidity",
    "AbsorbedDose",
    "AbsorbedDoseRate",
    "Acceleration",
    "Altitude",
    "AmountOfSubstance",
    "AmountOfSubstancePerUnitVolume",
    "Angle",
    "AngularAcceleration",
    "AngularMomentum",
    "AngularVelocity",
    "Area",
    "Capacitance",
    "Conductance",
    "Conductivity",
    "Count",
    "Density",
    "Dimensionless",
    "DoseEquivalent",
    "DoseEquivalentRate",
    "DynamicViscosity",
    "ElectricCharge",
    "ElectricCurrent",
    "ElectricCurrentDensity",
    "ElectricFieldStrength",
    "Energy",
    "Exposure",
    "Force",
    "Frequency",
    "Illuminance",
    "Inductance",
    "Irradiance",
    "KinematicViscosity",
    "Length",
    "LinearMomentum",
    "Luminance",
    "LuminousFlux",
    "LuminousIntensity",
    "MagneticFlux",
    "MagneticFluxDensity",
    "MagneticVectorPotential",
    "Mass",
    "MassConcentration",
    "MassFlowRate",
    "MassPerAreaTime",
    "MemoryCapacity",
    "MolalityOfSolute",
    "MolarEnergy",
    "MolarMass",
    "MolarVolume",
    "Power",
    "Pressure",
    "RadiantFlux",
    "RadiantIntensity",
    "Radioactivity",
    "RelativeHumidity",
    "Resistance",
    "Resistivity",
    "SolidAngle",
    "SpecificVolume",
    "Speed",
    "SurfaceDensity",
    "SurfaceTension",
    "Temperature",
    "Time",
    "Torque",
    "Voltage",
    "Volume",
    "VolumeFlowRate",
    "VolumeFraction",
    "VolumetricFlux",
    "Wavenumber",
];

/// Kinds of alerts of sensors.
pub const ALERTS: &[&str] = &["ALARM_CONDITION", "ERROR_CONDITION"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_one_short_name() {
        for text in [
            "shipping",
            "urn:epcglobal:cbv:bizstep:shipping",
            "https://ref.gs1.org/cbv/BizStep-shipping",
            "https://ns.gs1.org/cbv/BizStep-shipping",
            "cbv:BizStep-shipping",
        ] {
            assert_eq!(BIZ_STEP.short(text), "shipping");
        }
        for text in ["urn:epcglobal:cbv:disp:shipping", "https://example.org/shipping", "$gt"] {
            assert_eq!(BIZ_STEP.short(text), text);
        }
    }
}
