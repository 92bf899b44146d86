use serde::Serialize;

/// A check, by BuildKit's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[expect(missing_docs, reason = "`description` says what each is about")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

impl Rule {
    /// All checks.
    pub const ALL: [Self; 22] = [
        Self::StageNameCasing,
        Self::FromAsCasing,
        Self::NoEmptyContinuation,
        Self::ConsistentInstructionCasing,
        Self::DuplicateStageName,
        Self::ReservedStageName,
        Self::JSONArgsRecommended,
        Self::MaintainerDeprecated,
        Self::UndefinedArgInFrom,
        Self::WorkdirRelativePath,
        Self::UndefinedVar,
        Self::MultipleInstructionsDisallowed,
        Self::LegacyKeyValueFormat,
        Self::InvalidBaseImagePlatform,
        Self::RedundantTargetPlatform,
        Self::SecretsUsedInArgOrEnv,
        Self::InvalidDefaultArgInFrom,
        Self::FromPlatformFlagConstDisallowed,
        Self::CopyIgnoredFile,
        Self::InvalidDefinitionDescription,
        Self::ExposeProtoCasing,
        Self::ExposeInvalidFormat,
    ];

    /// Returns the check's name, as `# check=skip=` takes it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Returns where Docker's documentation explains the check.
    pub fn url(self) -> String {
        let name = self.name();
        // `JSONArgs…` is two words.
        let name = name.replace("JSON", "Json");
        let mut words = String::new();
        for (index, char) in name.chars().enumerate() {
            if index > 0 && char.is_ascii_uppercase() {
                words.push('-');
            }
            words.push(char.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{words}/")
    }

    /// Returns whether it runs only where `# check=experimental=` asks for it.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// Returns what the check is about, in one line.
    pub fn description(self) -> &'static str {
        match self {
            Self::StageNameCasing => "names of stages are in lower case",
            Self::FromAsCasing => "AS is written in the case of FROM",
            Self::NoEmptyContinuation => "a line that goes on is not followed by a blank one",
            Self::ConsistentInstructionCasing => "all instructions are written in one case",
            Self::DuplicateStageName => "every stage has a name of its own",
            Self::ReservedStageName => "no stage is called scratch or context",
            Self::JSONArgsRecommended => {
                "CMD and ENTRYPOINT in JSON form pass signals on to the program"
            }
            Self::MaintainerDeprecated => "a label took the place of MAINTAINER",
            Self::UndefinedArgInFrom => "FROM uses arguments that are declared above it",
            Self::WorkdirRelativePath => "a working directory does not depend on the base image",
            Self::UndefinedVar => "variables are defined before they are used",
            Self::MultipleInstructionsDisallowed => {
                "of several CMD, ENTRYPOINT or HEALTHCHECK in a stage only the last one counts"
            }
            Self::LegacyKeyValueFormat => "keys and values are written with `=`",
            Self::InvalidBaseImagePlatform => {
                "the base image is made for the platform of the build"
            }
            Self::RedundantTargetPlatform => "$TARGETPLATFORM is the platform of FROM anyway",
            Self::SecretsUsedInArgOrEnv => "ARG and ENV are no places for secrets",
            Self::InvalidDefaultArgInFrom => "the defaults of arguments make FROM name an image",
            Self::FromPlatformFlagConstDisallowed => {
                "a platform that is fixed keeps the file from building for others"
            }
            Self::CopyIgnoredFile => "what is copied is not left out by .dockerignore",
            Self::InvalidDefinitionDescription => {
                "a comment above a stage or an argument begins with its name"
            }
            Self::ExposeProtoCasing => "protocols in EXPOSE are in lower case",
            Self::ExposeInvalidFormat => "EXPOSE has no address and no port of the host",
        }
    }
}
